"""A picture on which a mask is painted, by pointer or by keys; see painter.js."""

import json
from typing import Any

import gradio as gr
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from var.errors import UserError
from var.evaluation.report.html import packaged_text
from var.evaluation.report.scrubbing import data_uri
from var.foreign.documents import parse_json
from var.images import to_pil

MOST = 2**22
"""Characters of what a page may send as its mask."""

SHAPES = {
    "left half": lambda h, w: (slice(None), slice(0, w // 2)),
    "right half": lambda h, w: (slice(None), slice(w // 2, None)),
    "upper half": lambda h, w: (slice(0, h // 2), slice(None)),
    "lower half": lambda h, w: (slice(h // 2, None), slice(None)),
    "middle": lambda h, w: (slice(h // 4, h - h // 4), slice(w // 4, w - w // 4)),
    "nothing": lambda h, w: (slice(0, 0), slice(None)),
}
"""Masks by name, as the rows and columns that are redrawn."""


def painter(label: str) -> gr.HTML:
    """The component; its value is what `canvas` gives."""
    return gr.HTML(
        value="",
        html_template='<canvas tabindex="0" aria-label="mask"></canvas>',
        js_on_load=packaged_text("var.app", "painter.js"),
        elem_classes="painter",
        label=label,
    )


def canvas(images: Float[Tensor, "1 c h w"], mask: Bool[Tensor, "h w"] | None = None) -> str:
    """The value of a painter that shows an image, in [-1, 1], and the mask on it."""
    height, width = images.shape[-2:]
    painted = torch.zeros(height, width, dtype=torch.bool) if mask is None else mask
    bits = "".join("1" if each else "0" for each in painted.flatten().tolist())
    return json.dumps({"picture": data_uri(to_pil(images)[0]), "width": width, "height": height, "mask": bits})


def shape_mask(name: str, size: tuple[int, int]) -> Bool[Tensor, "h w"]:
    """One of `SHAPES` at this (height, width)."""
    mask = torch.zeros(size, dtype=torch.bool)
    mask[SHAPES[name](*size)] = True
    return mask


def painted_mask(value: str | None, size: tuple[int, int]) -> Bool[Tensor, "h w"]:
    """The mask of a painter, True where something is painted; raises `UserError` for an empty one and for no mask."""
    content: dict[str, Any] = {}
    if value and len(value) <= MOST:
        content = parse_json(value, "the mask", remedy="load the page again")
    bits = content.get("mask", "")
    if not isinstance(bits, str) or len(bits) != size[0] * size[1] or set(bits) - {"0", "1"}:
        raise UserError("a mask must be painted on a picture, got none; upload a picture, or take one from Generate")
    mask = torch.tensor([bit == "1" for bit in bits]).view(size)
    if not mask.any():
        raise UserError("a mask must hold what is to be redrawn, got an empty one; paint on the picture")
    return mask
