"""A small network that says what real images show, one attribute after the other: the judge of samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from var.data.base import ImageData
from var.data.batches import Batch
from var.errors import UserError
from var.evaluation.features.digests import network_digest
from var.evaluation.features.extraction import check_uint8
from var.evaluation.features.small_network import WIDTH, SmallNetwork
from var.images import from_uint8
from var.randomness import keyed_global_stream
from var.training import TrainingConfig, train

Words = Mapping[str, Sequence[str]]
"""By the name of an attribute, the words that it may have; of images, the word of each."""

STEPS, BATCH = 1200, 64
"""Two minutes of a core. Of held-out shapes 0.94 are read right; rounding to 256 levels leaves 0.976 of grounds."""


class AttributeNetwork(nn.Module):
    """A small network with a linear head for each attribute; `words` are those of each, `shape` is that of images."""

    def __init__(self, shape: tuple[int, int, int], words: Words) -> None:
        super().__init__()
        self.shape, self.words = shape, {name: tuple(each) for name, each in words.items()}
        self.network = SmallNetwork(shape[0])
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, len(each)) for name, each in self.words.items()})

    def forward(self, images: Float[Tensor, "batch c h w"]) -> dict[str, Float[Tensor, "batch _words"]]:
        """Logits of the words of every attribute, of images in [-1, 1]."""
        seen = self.network(images)
        return {name: head(seen) for name, head in self.heads.items()}

    @property
    def digest(self) -> str:
        """SHA-256 of the words and the weights, in hexadecimal."""
        return network_digest(repr(("attributes", self.shape, self.words)), self)

    @torch.inference_mode()
    def read(self, images: UInt8[Tensor, "batch c h w"]) -> dict[str, list[str]]:
        """The word of every image for every attribute; raises `UserError` for images of another size."""
        check_uint8(images, "the attribute network")
        if tuple(images.shape[1:]) != self.shape:
            raise UserError(
                f"the attribute network judges images {self.shape}, got {tuple(images.shape[1:])}; train another one"
            )
        device = self.network.looks.weight.device
        logits = self.eval()(from_uint8(images.to(device)))
        return {name: [self.words[name][i] for i in each.argmax(dim=1).tolist()] for name, each in logits.items()}


@dataclass(frozen=True)
class AttributeTask:
    """The sum of the cross-entropies of all attributes, for the training loop."""

    model: AttributeNetwork
    places: dict[str, Int64[Tensor, " n"]]  # of the word of every image of the data

    def loss(self, model: nn.Module, batch: Batch, generator: Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        """The loss, and the share of images of which every attribute is right."""
        total, right = torch.zeros((), device=batch.images.device), torch.tensor(1.0)
        for name, logits in model(batch.images).items():
            wanted = self.places[name][batch.indices].to(logits.device)
            total = total + F.cross_entropy(logits, wanted)
            right = right * (logits.detach().argmax(dim=1) == wanted).float()
        return total, {"accuracy": right.mean()}


def attributes_of(data: ImageData) -> dict[str, list[str]]:
    """What every image of `data` shows, by attribute; raises `UserError` for data without `attributes()`."""
    found = getattr(data, "attributes", None)
    if found is None:
        raise UserError(
            "an attribute network learns from data that tell the attributes of their images, as `shapes` do, got "
            f"{type(data).__name__}; judge by retrieval"
        )
    return found()


def train_attributes(
    data: ImageData,
    *,
    steps: int = STEPS,
    batch_size: int = BATCH,
    seed: int = 0,
    device: str | None = None,
    progress: bool = True,
) -> AttributeNetwork:
    """A network that reads the attributes of `data`; it depends on the data and these numbers only.

    Raises `UserError` for data that do not tell the attributes of their images.
    """
    found = attributes_of(data)
    words = {name: sorted(set(each)) for name, each in found.items()}
    with keyed_global_stream("attributes", seed):  # initial weights
        network = AttributeNetwork(data.shape, words)
    places = {name: torch.tensor([words[name].index(word) for word in each]) for name, each in found.items()}
    training = TrainingConfig(
        steps=steps,
        batch_size=min(batch_size, len(data)),
        optimizer="muon",
        learning_rate=5e-3,
        weight_decay=0.0,
        warmup=0.05,
        ema_decay=0.99,
        seed=seed,
    )
    task = AttributeTask(network, places)
    train(task, data, training, description="attributes", progress=progress, device=device)
    return network.eval().requires_grad_(False)
