"""A picture that a tab is given: uploaded, or taken from Generate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr
from PIL import Image
from torch import Tensor

from var.app.controls import Showing
from var.app.drawing import Drawn
from var.app.generate import Made
from var.app.messages import told
from var.app.models import Models
from var.app.uploads import TYPES, uploaded
from var.errors import UserError


@dataclass(frozen=True, slots=True)
class Given:
    """The buttons that give a picture."""

    upload: gr.UploadButton
    take: gr.Button

    @classmethod
    def buttons(cls) -> "Given":
        """Both, side by side."""
        with gr.Row():
            upload = gr.UploadButton("Upload a picture", file_types=TYPES, size="sm")
            return cls(upload, gr.Button("Take from Generate", size="sm"))

    def then(
        self,
        work: Callable[..., Any],
        outputs: Sequence[Any],
        models: Models,
        made: Made,
        *,
        inputs: Sequence[Any] = (),
        what: Showing | None = None,
        **how: Any,
    ) -> None:
        """Do `work` with the picture, as a batch of one in [-1, 1] of the model's shape, and further inputs.

        The controls that say `what` is shown follow a picture of Generate: it is of that class, or prompt.
        """

        @told
        def of_upload(path: str, *others: Any):
            return work(uploaded(path, models.var.image_shape), *others)

        @told
        def of_made(drawn: Drawn | None, index: int, *others: Any):
            done = work(chosen_image(drawn, index)[0], *others)
            assert drawn is not None  # `chosen_image` has looked
            return done if what is None else (*done, *drawn.shows(index, models.var))

        self.upload.upload(of_upload, [self.upload, *inputs], list(outputs), **how)
        followers = [] if what is None else [what.shown, what.prompt]
        self.take.click(of_made, [made.drawn, made.chosen, *inputs], [*outputs, *followers], **how)


def chosen_image(drawn: Drawn | None, index: int) -> tuple[Tensor, Image.Image]:
    """The image chosen in Generate, as a batch in [-1, 1], and its picture; raises `UserError` if there is none."""
    if drawn is None:
        raise UserError("an image must be taken from Generate, got none; draw some there first")
    return drawn.images[index : index + 1], drawn.pictures[index]
