"""Both stages joined for users: labels in, images out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from var.errors import UserError
from var.generation.guidance import guidance_scales
from var.generation.logits import Sampling
from var.generation.loop import generate
from var.hub import PretrainedPipeline
from var.images import format_images
from var.requests import ClassLabels, Generators, count_images, random_streams, resolve_labels
from var.transformer.model import VAR
from var.vqvae.model import VQVAE


@dataclass(frozen=True, slots=True, kw_only=True)
class VAROutput:
    """Images and how they came about."""

    images: Any  # as `output_type` says: list of PIL images, float tensor NCHW or float array NHWC in [0, 1]
    tokens: list[Tensor]  # K token maps (batch, side, side), coarse to fine
    labels: Tensor  # (batch,); num_classes is the null label
    seeds: list[int]  # of every image; passing it as `seeds` with the other settings repeats the image
    intermediates: list[Any] | None = None  # the images after every scale, in the same form, if asked for


class VARPipeline(PretrainedPipeline):
    """Next-scale generation with a tokenizer and a transformer that was trained on its tokens."""

    parts = {"vqvae": VQVAE, "transformer": VAR}  # noqa: RUF012 (read by the mixin, never changed)

    def __init__(self, vqvae: VQVAE, transformer: VAR) -> None:
        mine, theirs = vqvae.config, transformer.config
        for name, left, right in (
            ("sides", mine.sides, theirs.sides),
            ("vocabulary", mine.vocabulary, theirs.vocabulary),
            ("code width", mine.width, theirs.code_width),
        ):
            if left != right:
                raise UserError(
                    f"tokenizer and transformer must have the same {name}, got {left} and {right}; "
                    "load the pair that was trained together"
                )
        self.vqvae = vqvae.eval()
        self.transformer = transformer.eval()

    @property
    def device(self) -> torch.device:
        """Where the transformer lies."""
        return self.transformer.position.device

    def to(self, *args: Any, **kwargs: Any) -> "VARPipeline":
        """Move or cast both models, as `nn.Module.to` does; returns the pipeline."""
        self.vqvae.to(*args, **kwargs)
        self.transformer.to(*args, **kwargs)
        return self

    @torch.no_grad()
    def __call__(
        self,
        class_labels: ClassLabels = None,
        num_images: int | None = None,
        *,
        guidance_scale: float | int | Sequence[float | int] = 1.5,
        guidance_schedule: str = "linear",
        temperature: float | int = 1.0,
        top_k: int = 0,
        top_p: float | int = 0.0,
        smooth: bool = False,
        generator: Generators = None,
        seeds: Sequence[int] | None = None,
        output_type: str = "pil",
        return_intermediates: bool = False,
        callback_on_step_end: Callable[[int, Tensor, Tensor], None] | None = None,
        progress: bool = True,
    ) -> VAROutput:
        """Generate images.

        `class_labels`: a label or one for each image; None for images without a class (the null label), "random" for a
        class drawn from each image's seed. `guidance_scale` 1 means off; `guidance_schedule` is "constant" or "linear",
        or `guidance_scale` lists one number a scale. `smooth` mixes codes by Gumbel-softmax. Randomness: one generator,
        a list with one for each image, or `seeds`; an image depends on its own seed only, not on the batch.
        `output_type`: "pil", "pt" (float NCHW in [0, 1]) or "np" (float NHWC in [0, 1]). `callback_on_step_end`
        receives the scale's index, its token map and the latent accumulated so far. Raises ValueError for requests
        that make no sense.
        """
        # Refused before the work and not after it: an unknown type, or channels that no picture has.
        format_images(torch.empty(0, self.vqvae.config.in_channels, 1, 1), output_type)
        sampling = Sampling(temperature=temperature, top_k=top_k, top_p=top_p)
        scales = len(self.transformer.scales)
        guidance = guidance_scales(guidance_scale, guidance_schedule, scales)
        count = count_images(class_labels, num_images, seeds)
        generators, seeds = random_streams(count, generator, seeds, self.device)
        labels = resolve_labels(class_labels, count, self.transformer.config.num_classes, seeds)
        with tqdm(range(scales), desc="scales", leave=False, disable=not progress) as bar:
            result = generate(
                self.vqvae,
                self.transformer,
                labels.to(self.device),
                guidance=guidance if class_labels is not None else [1.0] * scales,
                sampling=sampling,
                generators=generators,
                smooth=smooth,
                scales=bar,
                on_scale=callback_on_step_end,
            )
        decoded = [self.vqvae.decode_latent(latent) for latent in result.latents[0 if return_intermediates else -1 :]]
        images = [format_images(each, output_type) for each in decoded]
        return VAROutput(
            images=images[-1],
            tokens=result.token_maps,
            labels=labels,
            seeds=seeds,
            intermediates=images if return_intermediates else None,
        )

    @torch.no_grad()
    def log_likelihood(
        self, images: Float[Tensor, "batch channels height width"], class_labels: ClassLabels = None
    ) -> Float[Tensor, " batch"]:
        """Log-probability in nats of each image's tokens, given the label or (None) without one.

        Images are in [-1, 1]. It is a bound on nothing but the tokens: the tokenizer's loss is not in it.
        """
        if isinstance(class_labels, str):
            raise UserError(f"a likelihood is that of given labels, got class_labels={class_labels!r}; pass numbers")
        labels = resolve_labels(class_labels, len(images), self.transformer.config.num_classes, [0] * len(images))
        token_maps = self.vqvae.encode(images.to(self.device))
        logits = self.transformer(labels.to(self.device), self.vqvae.teacher_inputs(token_maps))
        tokens = self.transformer.scales.flatten(token_maps)
        return -F.cross_entropy(logits.mT, tokens, reduction="none").sum(dim=1)
