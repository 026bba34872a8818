"""The one training loop: a task says what a model's loss is, the loop does the rest."""

from var.training.checkpoints import CheckpointPolicy
from var.training.loop import TrainingResult, train
from var.training.non_finite import NonFiniteLossError
from var.training.optimization import TrainingConfig
from var.training.periodic_evaluation import PeriodicEvaluation
from var.training.task import (
    AdversarialTask,
    PeriodicTask,
    StatefulTask,
    SteppedTask,
    Task,
    WaitingTask,
    WatchfulTask,
)

__all__ = [
    "AdversarialTask",
    "CheckpointPolicy",
    "NonFiniteLossError",
    "PeriodicEvaluation",
    "PeriodicTask",
    "StatefulTask",
    "SteppedTask",
    "Task",
    "TrainingConfig",
    "TrainingResult",
    "WaitingTask",
    "WatchfulTask",
    "train",
]
