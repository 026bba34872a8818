"""Variations of an image just made: its coarse token maps are kept, and the finer ones drawn anew."""

import gradio as gr

from var.app.controls import gallery_of, seeded
from var.app.drawing import Asked, Drawn, draw
from var.app.generate import Made
from var.app.given import chosen_image
from var.app.messages import told
from var.app.models import Models
from var.app.pictures import file_of
from var.app.turns import when_clicked
from var.images import Signed
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
            models, model, asked, {}, progress, title="scales", steps=scales, call=call, told=told,
            arguments=(Signed(image),), keep_scales=int(keep),
        )  # fmt: skip
        return out.gallery(model), file_of(picture)

    inputs = [made.drawn, made.chosen, kept, seed.seed]
    when_clicked(button, made.turn, seed, [(carry_out, [gallery, source])], inputs)
    for changed in (made.drawn, made.chosen):
        changed.change(told(_picture), [made.drawn, made.chosen], source, show_progress="hidden")


def _picture(drawn: Drawn | None, index: int) -> str:
    return file_of(chosen_image(drawn, index)[1])
