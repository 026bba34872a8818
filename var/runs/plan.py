"""What a run will be, in numbers, before it begins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from torch import nn

from var.data.base import ImageData
from var.quantities import count, flops, size
from var.runs.cost import Cost
from var.runs.memory import lasting_memory
from var.runs.settings import RunSettings
from var.training import TrainingConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network of a run."""

    name: str
    parameters: int
    trained: bool = True

    @classmethod
    def of(cls, name: str, network: nn.Module, *, trained: bool = True) -> Self:
        """What `network`, which may be on the meta device, comes to."""
        return cls(name=name, parameters=sum(weight.numel() for weight in network.parameters()), trained=trained)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The numbers of a run; `text` is what `--plan` prints."""

    kind: str  # of the run
    settings: RunSettings
    data: ImageData
    networks: Sequence[Network]
    shapes: Sequence[tuple[int, int]] = ()  # (height, width) of the token maps, where there are such
    image_cost: Cost  # of one image of a training step
    optimizer_flops: int = 0  # of the optimiser's own products in a step
    processes: int = 1
    notes: Sequence[str] = ()

    @property
    def training(self) -> TrainingConfig:
        """How the loop trains."""
        return self.settings.training

    @property
    def tokens(self) -> int:
        """Of an image."""
        return sum(height * width for height, width in self.shapes)

    @property
    def parameters(self) -> int:
        """Of the networks that are trained."""
        return sum(network.parameters for network in self.networks if network.trained)

    @property
    def step_flops(self) -> int:
        """Of one optimiser step, over all processes: forward and backward pass, and what the optimiser multiplies."""
        return self.image_cost.flops * self.training.batch_size + self.optimizer_flops

    @property
    def epochs(self) -> float:
        """How often every image is seen."""
        return self.training.steps * self.training.batch_size / len(self.data)

    @property
    def micro_batch(self) -> int:
        """Images that one process has in memory at once."""
        return max(self.training.batch_size // (self.processes * self.training.micro_batches), 1)

    @property
    def memory(self) -> dict[str, int]:
        """An estimate of the bytes that one process needs, by what they hold; temporary buffers are not in it."""
        frozen = sum(network.parameters for network in self.networks if not network.trained)
        lasting = lasting_memory(self.parameters, frozen, self.training, self.processes)
        kept = self.image_cost.kept * self.micro_batch
        return lasting | ({"activations": kept} if kept else {})

    def text(self) -> str:
        """The plan as aligned lines."""
        training, data = self.training, self.data
        size_of_images, classes = "x".join(map(str, data.shape[1:])), count(len(data.classes), "class", "classes")
        rows = [(n.name, f"{n.parameters:,} parameters{'' if n.trained else ', frozen'}") for n in self.networks]
        rows.append(("data", f"{self.settings.data.source}, {size_of_images}: {len(data):,} images in {classes}"))
        if self.shapes:
            sides = " ".join(f"{height}x{width}" for height, width in self.shapes)
            rows.append(("tokens", f"{self.tokens:,} per image, in maps of {sides}"))
        memory = ", ".join(f"{name} {size(number)}" for name, number in self.memory.items())
        rows += [
            ("step", f"{_batch(self)}, {flops(self.step_flops)}"),
            ("memory", f"about {size(sum(self.memory.values()))} per process: {memory}"),
            ("run", f"{training.steps:,} steps = {self.epochs:,.1f} epochs, {flops(self.step_flops * training.steps)}"),
            ("learning rate", learning_rate(training)),
        ]
        rows += [("", note) for note in self.notes]
        width = max(len(name) for name, _ in rows) + 2
        title = f"{self.kind} in {training.mixed_precision.replace('no', 'float32')}"
        return "\n".join([title, *(f"  {name:{width}}{text}" for name, text in rows)])


def learning_rate(training: TrainingConfig) -> str:
    """The learning rate over time, in words."""
    rise = round(training.warmup * training.steps)
    hold = round((training.warmup + training.hold) * training.steps)
    peak = f"{training.learning_rate:g}"
    parts = [f"up to {peak} in {count(rise, 'step')}" if rise else f"{peak} from the start"]
    if training.schedule == "constant":
        return ", ".join([*parts, "then constant"])
    if hold > rise:
        parts.append(f"constant up to step {hold:,}")
    end = f"{training.learning_rate * training.final_learning_rate:g}"
    return ", ".join([*parts, f"then {training.schedule} down to {end} at step {training.steps:,}"])


def _batch(plan: Plan) -> str:
    text = count(plan.training.batch_size, "image")
    if plan.processes > 1 or plan.training.micro_batches > 1:
        processes = count(plan.processes, "process", "processes")
        text += f" ({processes} x {plan.training.micro_batches} parts x {plan.micro_batch})"
    return text if not plan.shapes else f"{text}, {plan.tokens * plan.training.batch_size:,} tokens"
