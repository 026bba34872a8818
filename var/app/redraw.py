"""Variations of an image just made: its coarse token maps are kept, and the finer ones drawn anew."""

import gradio as gr
from PIL import Image
from torch import Tensor

from var.app.controls import gallery_of, next_seed, seeded
from var.app.drawing import Asked, Drawn, draw
from var.app.generate import Made
from var.app.messages import told
from var.app.models import Models
from var.app.pictures import file_of
from var.errors import UserError
from var.sampling.record import KEY

COUNT = 8
HINT = (
    "Keep the first scales of the image chosen in Generate, and draw the rest again. The more scales are kept, the "
    "nearer the variations are to it."
)


def tab(models: Models, made: Made) -> None:
    """Build the tab."""
    model = models.var
    scales = len(model.pipeline.vqvae.scales)
    gr.Markdown(HINT)
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            source = gr.Image(label="From", interactive=False, height=220, buttons=[], elem_classes="pixels")
            kept = gr.Slider(0, scales, value=scales // 2, step=1, label="Scales that are kept")
            seed = seeded()
            button = gr.Button("Redraw", variant="primary")
        with gr.Column(scale=2, min_width=260):
            gallery = gallery_of("Variations")

    @told
    def carry_out(
        drawn: Drawn | None,
        index: int,
        keep: float,
        number: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ):
        image, picture = chosen_image(drawn, index)
        assert drawn is not None
        shown = None if drawn.asked.labels is None else str(drawn.asked.labels[index])
        asked = Asked.of(model, shown, drawn.asked.prompt, number, COUNT)
        call = model.pipeline.variations
        told = {"keep_scales": int(keep), "variation_of": picture.info[KEY]}
        out = draw(
            models, model, asked, {}, progress, title="scales", steps=scales, call=call, told=told, arguments=(image,),
            keep_scales=int(keep),
        )  # fmt: skip
        return file_of(picture), out.gallery(model)

    renewed = button.click(next_seed, [seed.seed, seed.renew], seed.seed, show_progress="hidden")
    inputs = [made.drawn, made.chosen, kept, seed.seed]
    renewed.then(carry_out, inputs, [source, gallery], show_progress_on=gallery, concurrency_id="model")
    for changed in (made.drawn, made.chosen):
        changed.change(told(_picture), [made.drawn, made.chosen], source, show_progress="hidden")


def _picture(drawn: Drawn | None, index: int) -> str:
    return file_of(chosen_image(drawn, index)[1])


def chosen_image(drawn: Drawn | None, index: int) -> tuple[Tensor, Image.Image]:
    """The image chosen in Generate, as a batch in [-1, 1], and its picture; raises `UserError` if there is none."""
    if drawn is None:
        raise UserError("an image must be taken from Generate, got none; draw some there first")
    return drawn.images[index : index + 1], drawn.pictures[index]
