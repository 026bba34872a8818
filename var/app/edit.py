"""In-painting: a picture, a mask painted on it, and the fillings of both paradigms side by side."""

from collections.abc import Callable
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from var.app.controls import guidance, seeded, showing, usual
from var.app.drawing import Asked, draw
from var.app.generate import Made
from var.app.given import Given
from var.app.messages import told
from var.app.models import Models
from var.app.painter import SHAPES, canvas, painted_mask, painter, shape_mask
from var.app.turns import when_clicked
from var.errors import UserError
from var.images import Signed
from var.quantities import significant

COUNT = 4
STEPS, RESAMPLING = 20, 2
"""Of diffusion: steps, and how often each is gone through for a better fit."""
HINT = (
    "Upload a picture or take the one chosen in Generate, paint over what is to be redrawn (or use the arrow keys and "
    "the space bar), and fill it."
)


def tab(models: Models, made: Made) -> None:
    """Build the tab."""
    model, size = models.var, models.var.image_shape[1:]
    picture = gr.State(None)
    gr.Markdown(HINT)
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            given = Given.buttons()
            mask = painter("Mask")
            shape = gr.Radio(list(SHAPES), label="Or a mask by name", value=None)
            what, seed, strength = showing(model), seeded(), guidance(model)
            walk, seen = usual(models.diffusion, "num_inference_steps", STEPS), models.diffusion is not None
            steps = gr.Slider(min(5, walk), max(100, walk), walk, step=1, label="Diffusion: steps", visible=seen)
            button = gr.Button("Fill", variant="primary")
        with gr.Column(scale=2, min_width=260):
            results = [_results(name) for name in models.both]
            if models.diffusion is None:
                gr.Markdown("Start with `--diffusion` to see the other paradigm here.")

    def opened(images: Tensor):
        return images, canvas(images), None

    @told
    def by_name(name: str | None, images: Tensor | None):
        if name is None:
            return gr.skip()
        if images is None:
            raise UserError("a mask needs a picture, got none; upload one, or take one from Generate")
        return canvas(images, shape_mask(name, size))

    given.then(opened, [picture, mask, shape], models, made, what=what, show_progress="hidden")
    shape.input(by_name, [shape, picture], mask, show_progress="hidden")
    inputs = [picture, mask, what.shown, what.prompt, seed.seed, strength, steps]
    works = [(_filling(models, name), outputs) for name, outputs in zip(models.both, results, strict=True)]
    when_clicked(button, made.turn, seed, works, inputs)


def _filling(models: Models, name: str) -> Callable[..., Any]:
    """What fills the mask with the model called `name`."""
    drawer = models.both[name]

    def carry_out(
        images: Tensor | None,
        painted: str,
        shown: str,
        prompt: str,
        number: float,
        scale: float,
        walk: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ):
        redrawn = painted_mask(painted, models.var.image_shape[1:])
        if images is None:
            raise UserError("a picture must be given, got none; upload one, or take one from Generate")
        asked = Asked.of(drawer, shown, prompt, number, COUNT)
        own: dict[str, Any] = {"keep_pixels": True}
        settings: dict[str, Any] = {"guidance_scale": float(scale)}
        count = len(models.var.pipeline.vqvae.scales)
        if drawer is models.diffusion:
            own = {"resampling": RESAMPLING}
            settings |= {"num_inference_steps": int(walk)}
            count = int(walk) * (2 * RESAMPLING - 1)
        out = draw(
            models, drawer, asked, settings, progress, title=name, steps=count,
            call=drawer.pipeline.edit,
            told={"edit": {**own, "redrawn": int(redrawn.sum()), "digest": _digest(images, redrawn)}},
            arguments=(Signed(images), redrawn), **own,
        )  # fmt: skip
        return out.gallery(drawer), f"**{name}**: {COUNT} fillings in {significant(out.seconds)} s"

    return carry_out


def _results(name: str) -> list[Any]:
    text = gr.Markdown(f"**{name}**")
    gallery = gr.Gallery(
        label=name,
        columns=COUNT,
        height="auto",
        object_fit="contain",
        buttons=["download"],
        elem_classes="pixels",
    )
    return [gallery, text]


def _digest(images: Tensor, mask: Tensor) -> str:
    """What tells this picture and this mask from others."""
    import hashlib

    content = torch.cat([images.flatten(), mask.flatten().to(images)]).numpy().tobytes()
    return hashlib.blake2b(content, digest_size=8).hexdigest()
