"""One training step of the transformer, cut into its phases, in several ways of getting tokens and computing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from benchmarking.measuring import clock
from torch import nn

from var import VAR, VQVAE, VARConfig, VQVAEConfig
from var.data import ArrayData, Batch, batches
from var.data.base import without_images
from var.errors import UserError
from var.randomness import keyed_generator, keyed_global_stream
from var.recipes.transformer.task import TransformerTask
from var.recipes.transformer.token_cache import TokenCache
from var.training import TrainingConfig
from var.training.optimization import build_optimizers

PHASES = ("data", "encode", "forward", "backward", "optimizer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How a step gets its tokens, and in which precision it computes."""

    cached: bool
    bf16: bool


WAYS = {
    "online": Way(cached=False, bf16=False),
    "cached": Way(cached=True, bf16=False),
    "cached-bf16": Way(cached=True, bf16=True),
    "online-bf16": Way(cached=False, bf16=True),
}
"""The ways of a step, by their names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """An untrained pair; time does not depend on the weights."""

    transformer: VAR
    vqvae: VQVAE

    @classmethod
    def of(cls, transformer: VARConfig, vqvae: VQVAEConfig, device: str) -> "Models":
        """A pair of these configs on `device`."""
        with keyed_global_stream("benchmark"):
            return cls(transformer=VAR(transformer).to(device), vqvae=VQVAE(vqvae).to(device))


@dataclass(slots=True)
class Step:
    """Steps of one way, one after another, on the same models as those of the other ways."""

    way: Way
    models: Models
    batch_size: int
    device: str
    compiled: bool = False
    model: nn.Module = field(init=False)
    _task: TransformerTask = field(init=False)
    _stream: Iterator[Batch] = field(init=False)
    _optimizer: torch.optim.Optimizer = field(init=False)

    def __post_init__(self) -> None:
        transformer, vqvae = self.models.transformer, self.models.vqvae
        data = _images(vqvae.config, transformer.config, 2 * self.batch_size)
        cache = _random_tokens(vqvae.config, len(data)) if self.way.cached else None
        self._task = TransformerTask(transformer, vqvae, cache=cache)
        self._stream = iter(batches(without_images(data) if self.way.cached else data, self.batch_size, seed=0))
        (self._optimizer,) = build_optimizers(transformer, TrainingConfig(steps=1))
        self.model = torch.compile(transformer.train()) if self.compiled else transformer.train()  # pyright: ignore[reportAttributeAccessIssue]

    def __call__(self, number: int = 0) -> dict[str, float]:
        """Take a step; returns the seconds of each phase."""
        task, transformer, marks = self._task, self.models.transformer, [clock(self.device)]
        generator = keyed_generator("benchmark", number, device=self.device)
        autocast = torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.way.bf16)
        batch = next(self._stream).to(self.device)
        condition = batch.condition.dropped(task.label_drop, generator)
        marks.append(clock(self.device))
        tokens, inputs = task.tokens_and_inputs(batch, generator)
        marks.append(clock(self.device))
        with autocast:
            loss, _ = task.cross_entropy(self.model, condition, tokens, inputs)
        marks.append(clock(self.device))
        loss.backward()
        marks.append(clock(self.device))
        nn.utils.clip_grad_norm_(transformer.parameters(), 2.0)
        self._optimizer.step()
        self._optimizer.zero_grad()
        marks.append(clock(self.device))
        return {name: end - start for name, start, end in zip(PHASES, marks, marks[1:], strict=False)}


def fastest(steps: dict[str, Step], repeats: int) -> dict[str, dict[str, float]]:
    """The phases of the fastest step of each way, after one to warm up; the ways take turns."""
    best: dict[str, dict[str, float]] = {}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            seconds = step(repeat)
            if repeat and (name not in best or sum(seconds.values()) < sum(best[name].values())):
                best[name] = seconds
    return best


def fitting_batch(way: Way, models: Models, *, device: str, compiled: bool = False) -> int:
    """The largest batch of which a step fits into the memory of a GPU; see `largest_batch`."""
    if device == "cpu":
        raise UserError("the largest batch is that of a GPU's memory, got --device cpu; leave --fit out")

    def fits(batch_size: int) -> bool:
        torch.cuda.empty_cache()
        try:
            Step(way, models, batch_size, device, compiled)()
        except torch.OutOfMemoryError:
            models.transformer.zero_grad()
            return False
        return True

    return largest_batch(fits)


def largest_batch(fits: Callable[[int], bool], *, limit: int = 2**14) -> int:
    """The largest batch size up to `limit` for which `fits` holds, to within an eighth; 0 if not even 1 does."""
    good, bad = 0, 1
    while bad <= limit and fits(bad):
        good, bad = bad, 2 * bad
    while bad - good > max(good // 8, 1):
        middle = (good + bad) // 2
        good, bad = (middle, bad) if middle <= limit and fits(middle) else (good, middle)
    return good


def matmul_peak(device: str, bf16: bool, repeats: int = 5) -> float:
    """FLOP/s of the machine at a large product of square matrices in the precision of a way."""
    size = 8192 if device != "cpu" else 2048
    a, b = torch.randn(2, size, size, device=device, dtype=torch.bfloat16 if bf16 else torch.float32)
    seconds = []
    for _ in range(repeats):
        started = clock(device)
        torch.mm(a, b)
        seconds.append(clock(device) - started)
    return 2 * size**3 / min(seconds)


def _images(config: VQVAEConfig, transformer: VARConfig, count: int) -> ArrayData:
    generator = keyed_generator("benchmark images")
    images = torch.rand(count, config.in_channels, *config.image_size, generator=generator) * 2 - 1
    labels = torch.randint(transformer.num_classes, (count,), generator=generator)
    return ArrayData(images, labels, classes=[str(label) for label in range(transformer.num_classes)])


def _random_tokens(config: VQVAEConfig, count: int) -> TokenCache:
    generator = keyed_generator("benchmark tokens")
    tokens = torch.randint(config.vocabulary, (1, count, config.schedule.length), generator=generator)
    return TokenCache([tokens.to(torch.int16)], count)
