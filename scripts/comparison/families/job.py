"""How a family's network is trained: its run, what is minimised, and the job that the one loop carries out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Generator, Tensor, nn

from comparison.families.model import FamilyNetwork
from var.data.batches import Batch
from var.randomness import keyed_global_stream
from var.runs.evaluation import Evaluation
from var.runs.job import Job, Prepared
from var.runs.plan import Plan
from var.runs.session import Session
from var.runs.settings import GeneratorSettings
from var.training import Task, TrainingConfig
from var.training.task import Numbers

STEPS = 1000
"""Of a run whose seconds are not given; averaging windows are meant for so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyRun(GeneratorSettings):
    """The settings of a family's training."""

    family: str  # its key
    network: Any  # the config of its network


class FamilyTask:
    """Minimise the mean of what the network's `forward` gives of each image."""

    def __init__(self, network: FamilyNetwork, label_drop: float) -> None:
        self.model, self.label_drop = network, label_drop

    def loss(self, model: nn.Module, batch: Batch, generator: Generator) -> tuple[Tensor, Numbers]:
        """The mean over the batch, some of whose labels are dropped."""
        return model(batch.images, batch.condition.dropped(self.label_drop, generator), generator).mean(), {}


@dataclass(frozen=True, kw_only=True)
class FamilyJob(Job[FamilyRun]):
    """The training of a family's network, after the stages in the folders `before`."""

    kind = "family"
    family: Any  # a `Family`
    before: Mapping[str, Path]

    def plan(self, processes: int) -> Plan:
        """None is made: a comparison trains."""
        raise NotImplementedError

    def prepare(self, session: Session) -> Prepared:
        """Build the network and its task."""
        run = self.settings
        with keyed_global_stream(run.family, run.training.seed):
            network = self.family.network_class(run.network)
        task = self.family.task(network, run, self.before)
        return Prepared(task=task, data=self.data, evaluation=Evaluation(lambda _model, _picture: {}, "loss"))

    def save(self, task: Task, folder: Path) -> str:
        """Save the pipeline."""
        self.family.pipeline_of(task.model, self.shown_classes, self.before).save_pretrained(folder, card=self.card())
        return f"saved a {self.family.pipeline.__name__}"


def trained(**changes: Any) -> TrainingConfig:
    """Small networks on a CPU: Muon, batches of 64, an average over the last steps."""
    usual: dict[str, Any] = {"batch_size": 64, "optimizer": "muon", "learning_rate": 5e-3, "ema_decay": 0.998}
    return TrainingConfig(steps=STEPS, **{**usual, **changes})
