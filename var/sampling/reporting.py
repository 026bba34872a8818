"""What a call hands back of its images, and whom it tells of its steps."""

from collections.abc import Callable
from dataclasses import InitVar, dataclass
from typing import Any

import torch
from torch import Tensor

from var import checks
from var.errors import UserError
from var.images import format_images
from var.names import received


@dataclass(frozen=True, slots=True)
class Reporting:
    """The arguments of a call with these names; `output_type` is "pil", "pt" or "np", see `format_images`.

    Raises `UserError`, before any work, for another type or one that has no images of so many `channels`, for what
    cannot be called, and for switches that are neither True nor False: the text "no" would be a yes.
    """

    channels: InitVar[int]
    output_type: str
    return_intermediates: bool
    callback_on_step_end: Callable[..., None] | None
    progress: bool

    def __post_init__(self, channels: int) -> None:
        format_images(torch.empty(0, channels, 1, 1), self.output_type)
        callback = self.callback_on_step_end
        if callback is not None and not callable(callback):
            raise UserError(f"callback_on_step_end must be a function, got {received(callback)}; pass one or None")
        for name in ("return_intermediates", "progress"):
            checks.argument(name, getattr(self, name), bool)

    def on_step(self, *step: Any) -> None:
        """Tell of a step."""
        if self.callback_on_step_end is not None:
            self.callback_on_step_end(*step)

    def formatted(self, images: Tensor) -> Any:
        """Images in [-1, 1] in the form that is asked for."""
        return format_images(images, self.output_type)
