"""The one training loop: a task says what a model's loss is, the loop does the rest."""

from var.training.loop import TrainingResult, train
from var.training.optimization import TrainingConfig
from var.training.task import Task

__all__ = ["Task", "TrainingConfig", "TrainingResult", "train"]
