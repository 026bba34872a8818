"""Images of a class or of words, and how each comes about: scale by scale, beside its token map."""

from dataclasses import dataclass

import gradio as gr

from var.app.controls import gallery_of, guidance, moved, seeded, showing, usual
from var.app.drawing import Asked, Drawn, draw, stage_images
from var.app.messages import told
from var.app.models import Models
from var.app.tokens import token_pictures
from var.app.turns import Turn, in_turn, when_clicked
from var.errors import UserError
from var.evaluation.report.scrubbing import Reel, scrubber
from var.images import to_pil
from var.sampling.command import LoadedModel

COUNT = 8
HINT = "Next-scale generation draws an image as token maps, from 1x1 to the finest, a whole map at each step."


@dataclass(frozen=True, slots=True)
class Made:
    """What other tabs take from this one."""

    drawn: gr.State
    chosen: gr.State  # the number of the chosen image
    turn: gr.State  # of the page


def tab(models: Models, page: gr.Blocks) -> Made:
    """Build the tab; the first images are drawn when the `page` is opened."""
    model = models.var
    drawn, chosen, turn = gr.State(None), gr.State(0), gr.State(Turn())
    gr.Markdown(HINT)
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            what = showing(model)
            seed = seeded()
            strength = guidance(model)
            with gr.Accordion("Sampling", open=False):
                heat, k, p = (usual(model, name) for name in ("temperature", "top_k", "top_p"))
                codes = model.pipeline.vqvae.config.vocabulary
                temperature = gr.Slider(min(0.1, heat), max(2, heat), value=heat, step=0.05, label="Temperature")
                top_k = gr.Slider(0, max(codes, k), k, step=1, label="Top-k", info="0: all codes")
                top_p = gr.Slider(0, 1, p, step=0.01, label="Top-p", info="0: all codes")
            button = gr.Button("Draw", variant="primary")
        with gr.Column(scale=2, min_width=260):
            gallery = gallery_of("Images")
            process = gr.HTML(elem_classes="process", apply_default_css=False)

    def carry_out(
        shown: str,
        prompt: str,
        number: float,
        scale: float,
        heat: float,
        k: float,
        p: float,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (how gradio is told that a function shows progress)
    ):
        values = {"guidance_scale": float(scale), "temperature": float(heat), "top_k": int(k), "top_p": float(p)}
        settings = moved(model, values)
        steps = len(model.pipeline.vqvae.scales)
        asked = Asked.of(model, shown, prompt, number, COUNT)
        made = draw(models, model, asked, settings, progress, title="scales", steps=steps)
        return gr.Gallery(made.gallery(model), selected_index=None), come_about(model, made, 0), made, 0

    controls = [what.shown, what.prompt, seed.seed, strength, temperature, top_k, top_p]
    outputs = [gallery, process, drawn, chosen]
    when_clicked(button, turn, seed, [(carry_out, outputs)], controls)
    page.load(in_turn(carry_out), [turn, *controls], outputs, show_progress_on=gallery, concurrency_id="model")

    @told
    def choose(made: Drawn | None, event: gr.SelectData):
        if made is None:
            raise UserError("an image must be drawn before it can be chosen, got none; draw some")
        return event.index, come_about(model, made, event.index)

    gallery.select(choose, drawn, [chosen, process], show_progress="hidden")
    return Made(drawn, chosen, turn)


def come_about(model: LoadedModel, made: Drawn, index: int) -> str:
    """Image `index` and its token maps, under a slider over the scales."""
    tokenizer = model.pipeline.vqvae
    names = [f"{height}x{width}" for height, width in tokenizer.scales.shapes]
    images = [each.convert("RGB") for each in to_pil(stage_images(model, made.stages, index))]
    maps = token_pictures(tokenizer, [each[index] for each in made.tokens])
    reels = [Reel(title="Image", stages=images, names=names), Reel(title="Token map", stages=maps, names=names)]
    return scrubber(reels, "Scale, from the coarsest to the finest")
