"""Calls that begin at images: what is kept of their tokens at every scale, and the rest drawn for it."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from var import checks
from var.errors import UserError
from var.generation.encoding import encoded
from var.generation.stages import StagedPipeline
from var.sampling.editing import GivenImages, GivenMasks, Start, given_images
from var.sampling.labels import ClassLabels
from var.sampling.numbers import calling
from var.scales import ScaleSchedule
from var.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit(Start):
    """What a call keeps of images: their tokens at the first `keep_scales` scales, and elsewhere outside the masks.

    With `keep_pixels` all pixels outside the masks are those of the images, and the first `blend` ones inside are
    mixed with them. Raises `UserError` for a setting outside its range.
    """

    keep_scales: int = 0
    keep_pixels: bool = False
    blend: int = 0

    def __post_init__(self) -> None:
        for name, hint in (("keep_scales", int), ("keep_pixels", bool), ("blend", int)):
            checks.argument(name, getattr(self, name), hint)
        checks.at_least(0, self, "blend")
        if self.blend and not self.keep_pixels:
            raise UserError(f"blend mixes kept pixels with others, got {self.blend} without keep_pixels; pass it too")

    def parts(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """Of a `Call` that carries it out; raises `UserError` for more scales than there are."""
        scales = tokenizer.scales
        if not 0 <= self.keep_scales <= len(scales):
            raise UserError(f"keep_scales must lie in [0, {len(scales)}], got {self.keep_scales}; correct it")
        if 2 * self.blend > min(size := tokenizer.config.image_size):
            raise UserError(
                f"blend must be at most half a side of images of {size[0]}x{size[1]}, got {self.blend}; lower it"
            )
        masks = torch.ones(1, 1, *size, dtype=torch.bool) if self.masks is None else self.masks
        redrawn = redrawn_tokens(masks, scales)
        for kept in redrawn[: self.keep_scales]:
            kept.fill_(False)
        known = Known(encoded(tokenizer, self.images), [each.to(tokenizer.device) for each in redrawn])
        return {"put": known, "finish": self.finished}

    def finished(self, images: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch c h w"]:
        """Decoded images, with the pixels that are kept."""
        if not self.keep_pixels or self.masks is None:
            return images
        # The first pixels inside are as deep as the mask can be eaten away from its edges; the image's are none.
        kept = (~self.masks).double()
        deep = [1 - F.max_pool2d(kept, 2 * step + 1, stride=1, padding=step) for step in range(self.blend + 1)]
        weight = torch.stack(deep).mean(0).to(images.device)
        return weight * images.double() + (1 - weight) * self.images.to(images.device)


@dataclass(frozen=True, slots=True)
class Known:
    """Tokens of images and where they are redrawn, at every scale: what is put into the maps that a loop draws."""

    token_maps: list[Int64[Tensor, "images _h _w"]]
    redrawn: list[Bool[Tensor, "masks _h _w"]]

    def __call__(self, scale: int, drawn: Int64[Tensor, "batch h w"]) -> Int64[Tensor, "batch h w"]:
        """The token map that is taken, of an image or of several candidates beside each other."""
        parts = self.redrawn[scale], self.token_maps[scale]
        redrawn, known = (part.repeat_interleave(len(drawn) // len(part), dim=0) for part in parts)
        return torch.where(redrawn, drawn, known)


def redrawn_tokens(masks: Bool[Tensor, "masks 1 h w"], scales: ScaleSchedule) -> list[Bool[Tensor, "masks _h _w"]]:
    """Where tokens are redrawn: at scale k where more than (1 - k / (K - 1)) / 2 of their area lies in the mask.

    The first token tells of the whole image and is redrawn with most of it only; of the last map all that meets the
    mask is. Areas are those by which latents are shrunk, so that tokens of 3 a side on 8 pixels overlap.
    """
    shares = [F.interpolate(masks.double(), size=shape, mode="area")[:, 0] for shape in scales.shapes]
    last = max(len(scales) - 1, 1)
    return [share > (1 - scale / last) / 2 for scale, share in enumerate(shares)]


class Edits(StagedPipeline):
    """The part of a pipeline that begins at images; what it gives is what a call gives."""

    @calling
    def edit(
        self,
        images: GivenImages,
        masks: GivenMasks,
        class_labels: ClassLabels = None,
        *,
        keep_scales: int = 0,
        keep_pixels: bool = False,
        blend: int = 0,
        **call: Any,
    ) -> Any:
        """Redraw what is True in the masks, and keep the tokens of the rest of the images.

        For `images` and `masks`, one each or one for all, see `given_images` and `given_masks`. At every scale the
        tokens whose area meets the mask are drawn, given all coarser ones, and the others are those of the images;
        of the first `keep_scales` scales all are. The images that come out are decoded, so that what is kept has been
        through the tokenizer, and changes a little with what is drawn beside it: with `keep_pixels` it is that of the
        images themselves, and `blend` pixels inside the mask go over into it. The rest of the `call` is that of the
        pipeline; a mask of all True is a call without an image, one of all False gives the reconstruction. Raises
        `UserError` as the call does, and for what does not fit the model.
        """
        own = {"keep_scales": keep_scales, "keep_pixels": keep_pixels, "blend": blend}
        return self(class_labels, edit=Edit.of(self.image_shape, images, masks, **own), **call)

    @calling
    def variations(
        self, images: GivenImages, class_labels: ClassLabels = None, *, keep_scales: int | None = None, **call: Any
    ) -> Any:
        """Keep the first `keep_scales` token maps of images and draw the finer ones anew; the rest is as for `edit`.

        How many that are has no usual value: raises `UserError` where it is not said, too.
        """
        if keep_scales is None:
            most = len(self._models()[0].scales)
            raise UserError(
                f"variations keep the first keep_scales of the model's {most} scales, got no number; pass one from 0 "
                f"to {most}, as in keep_scales={max(most // 2, 1)}"
            )
        edit = Edit.of(self.image_shape, images, keep_scales=keep_scales)
        return self(class_labels, edit=edit, **call)

    @calling
    def upscale(self, images: GivenImages, class_labels: ClassLabels = None, **call: Any) -> Any:
        """Draw what images smaller than the model's lack: they are enlarged and encoded, and their fine maps redrawn.

        The maps that are kept are those which a small image fills: of h_k a side where h_k / h_K is at most its share
        of the model's side. The rest is as for `edit`. Raises `UserError` for images that are not smaller or of other
        proportions, and for such that fill no map.
        """
        config = self._models()[0].config
        given = given_images(images, channels=config.in_channels, size=None)
        kept = filled_scales((given.shape[2], given.shape[3]), config.image_size, config.schedule)
        large = F.interpolate(given, size=config.image_size, mode="bicubic").clamp(-1, 1)
        return self(class_labels, edit=Edit(images=large, keep_scales=kept), **call)


def filled_scales(small: tuple[int, int], size: tuple[int, int], scales: ScaleSchedule) -> int:
    """How many maps of images of this size (height, width) are known of `small` ones."""
    (h, w), (height, width), finest = small, size, scales.shapes[-1]
    if h * width != w * height or h >= height:
        raise UserError(
            f"images to upscale must be smaller than {height}x{width} (height x width) and of the same proportions, "
            f"got {h}x{w}; resize or crop them"
        )
    kept = sum(rows * height <= finest[0] * h and columns * width <= finest[1] * w for rows, columns in scales.shapes)
    if not kept:
        raise UserError(
            f"images to upscale must fill the first of the scales {scales.sides}, got {h}x{w}; enlarge them"
        )
    return kept
