"""A small network that gives images and vectors of texts a space in common: the judge of retrieval."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from var.data.base import condition_size
from var.data.batches import Batch
from var.data.vectors import WithVectors
from var.evaluation.features.classifier import jitter
from var.evaluation.features.digests import network_digest
from var.evaluation.features.extraction import check_uint8
from var.evaluation.features.small_network import WIDTH, SmallNetwork
from var.images import from_uint8
from var.randomness import keyed_global_stream
from var.training import TrainingConfig, train

STEPS, BATCH = 800, 64
_SPACE = 64
"""Dimensions of the common space."""


class ImageTextNetwork(nn.Module):
    """Rows of length 1 for images and for texts: by a small network, by a linear layer (CLIP, arXiv 2103.00020)."""

    def __init__(self, channels: int, vector_width: int) -> None:
        super().__init__()
        self.network = SmallNetwork(channels)
        self.of_images, self.of_texts = nn.Linear(WIDTH, _SPACE), nn.Linear(vector_width, _SPACE)
        self.sharpness = nn.Parameter(torch.tensor(2.0))  # logarithm of what cosines are multiplied by

    def forward(
        self, images: Float[Tensor, "batch c h w"], vectors: Float[Tensor, "batch vector_width"]
    ) -> Float[Tensor, "batch batch"]:
        """Logits of every text, in columns, for every image in [-1, 1]."""
        return self.sharpness.exp() * self.images(images) @ self.texts(vectors).T

    def images(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch space"]:
        """Images in [-1, 1] in the common space."""
        return F.normalize(self.of_images(self.network(images)), dim=1)

    def texts(self, vectors: Float[Tensor, "batch vector_width"]) -> Float[Tensor, "batch space"]:
        """Vectors of texts in the common space."""
        return F.normalize(self.of_texts(vectors), dim=1)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights, in hexadecimal."""
        return network_digest("image and text", self)

    @torch.inference_mode()
    def look(self, images: UInt8[Tensor, "batch c h w"]) -> Float[Tensor, "batch space"]:
        """Images of 0 to 255 in the common space, on the CPU."""
        check_uint8(images, "the image-to-text network")
        return self.eval().images(from_uint8(images.to(self.sharpness.device))).cpu()


@dataclass(frozen=True)
class ImageTextTask:
    """Which text of a batch belongs to which image, asked both ways; texts that are equal belong alike."""

    model: ImageTextNetwork

    def loss(self, model: nn.Module, batch: Batch, generator: Generator) -> tuple[Tensor, dict[str, float | Tensor]]:
        """The mean of both cross-entropies."""
        vectors = batch.condition.vectors
        assert vectors is not None
        logits = model(jitter(batch.images, generator), vectors)
        same = (vectors[:, None] == vectors).all(dim=2).float()
        wanted = same / same.sum(dim=1, keepdim=True)
        losses = F.cross_entropy(logits, wanted), F.cross_entropy(logits.T, wanted)
        return (losses[0] + losses[1]) / 2, {}


def train_image_text(
    data: WithVectors,
    *,
    steps: int = STEPS,
    batch_size: int = BATCH,
    seed: int = 0,
    device: str | None = None,
    progress: bool = True,
) -> ImageTextNetwork:
    """A network that tells which vector, that of its caption, an image of `data` shows; it depends on these only."""
    with keyed_global_stream("image and text", seed):  # initial weights
        network = ImageTextNetwork(data.shape[0], condition_size(data).vector_width)
    training = TrainingConfig(
        steps=steps,
        batch_size=min(batch_size, len(data)),
        optimizer="muon",
        learning_rate=5e-3,
        warmup=0.05,
        ema_decay=0.99,
        seed=seed,
    )
    train(ImageTextTask(network), data, training, description="image and text", progress=progress, device=device)
    return network.eval().requires_grad_(False)
