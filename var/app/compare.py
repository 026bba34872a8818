"""The same class and the same seeds for both paradigms: what comes out, what it costs, and whether it is a copy."""

from typing import Any

import gradio as gr

from var.app.controls import guidance, seeded, showing, usual, words_of
from var.app.drawing import Asked, Drawn, draw, stage_images
from var.app.front import front_plot, settings_in
from var.app.generate import Made
from var.app.models import Models
from var.app.nearest import Known, known
from var.app.turns import when_clicked
from var.errors import UserError
from var.evaluation.report.html import Html, element
from var.evaluation.report.scrubbing import Reel, data_uri, scrubber
from var.images import image_grid
from var.quantities import significant
from var.sampling.command import LoadedModel

COUNT = 4
STEPS = 50
MOST_STAGES = 25
HINT = "One class, the same seeds, two ways to an image. Drag the slider from the first step of each to its last."


def tab(models: Models, made: Made) -> None:
    """Build the tab."""
    gr.Markdown(HINT)
    if models.diffusion is None:
        gr.Markdown("Start with `--diffusion` to compare VAR with a diffusion model.")
    other = models.diffusion
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            what, seed = showing(models.var), seeded()
            strength = guidance(models.var, "VAR: guidance")
            with gr.Group(visible=other is not None):
                other_strength = guidance(other or models.var, "Diffusion: guidance")
                walk = usual(other, "num_inference_steps", STEPS)
                steps = gr.Slider(1, max(100, walk), walk, step=1, label="Diffusion: steps")
                samplers = words_of(other.sampling, "sampler") if other else ["ddim"]
                sampler = gr.Dropdown(samplers, value=usual(other, "sampler", "ddim"), label="Diffusion: sampler")
            button = gr.Button("Compare", variant="primary")
        with gr.Column(scale=2, min_width=260):
            process = gr.HTML(elem_classes="process", apply_default_css=False)
            numbers = gr.HTML(apply_default_css=False)
            plot = gr.HTML(_plot(models, {}), apply_default_css=False)

    def carry_out(
        shown: str,
        prompt: str,
        number: float,
        scale: float,
        other_scale: float,
        walk: float,
        way: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ):
        scales = len(models.var.pipeline.vqvae.scales)
        plans: dict[str, tuple[int, dict[str, Any]]] = {"VAR": (scales, {"guidance_scale": float(scale)})}
        walked = {"guidance_scale": float(other_scale), "num_inference_steps": int(walk), "sampler": way}
        plans["Diffusion"] = (int(walk), walked)
        drawn = {}
        for name, model in models.both.items():
            count, settings = plans[name]
            asked = Asked.of(model, shown, prompt, number, COUNT)
            out = draw(models, model, asked, settings, progress, title=name, steps=count)
            drawn[name] = (model, out, model.evaluations(model.settings(settings)))  # pyright: ignore[reportOptionalCall]
        reels = [_reel(name, model, out) for name, (model, out, _) in drawn.items()]
        per_thousand = {name: out.seconds * 1000 / COUNT for name, (_, out, _) in drawn.items()}
        return scrubber(reels, "Step, from the first to the last"), _table(models, drawn), _plot(models, per_thousand)

    inputs = [what.shown, what.prompt, seed.seed, strength, other_strength, steps, sampler]
    when_clicked(button, made.turn, seed, [(carry_out, [process, numbers, plot])], inputs)


def _reel(name: str, model: LoadedModel, out: Drawn) -> Reel:
    last = len(out.stages) - 1
    chosen = sorted({round(last * place / max(MOST_STAGES - 1, 1)) for place in range(MOST_STAGES)})
    images = [stage_images(model, [out.stages[place] for place in chosen], index) for index in range(COUNT)]
    grids = [image_grid(_stacked(images, place), 2, padding=1).convert("RGB") for place in range(len(chosen))]
    return Reel(title=name, stages=grids, names=[f"step {place + 1} of {last + 1}" for place in chosen])


def _stacked(images: list[Any], place: int) -> Any:
    import torch

    return torch.stack([each[place] for each in images])


def _table(models: Models, drawn: dict[str, tuple[LoadedModel, Drawn, int]]) -> Html:
    head = ["", *drawn]
    rows = [
        [f"Seconds for {COUNT} images", *(significant(out.seconds) for _, out, _ in drawn.values())],
        ["Network evaluations per image", *(str(count) for _, _, count in drawn.values())],
    ]
    cells = [element("tr", *(element("th", each) for each in head))]
    cells += [element("tr", element("th", row[0]), *(element("td", each) for each in row[1:])) for row in rows]
    try:
        if not models.data:
            raise UserError("training images are not known; start with --data to see the nearest one")
        seen = known(models.data, models.var.image_shape)
        told = [_copies(seen, out) for _, out, _ in drawn.values()]
        cells.append(element("tr", element("th", "Images above their nearest training images"), *told))
    except UserError as missing:
        cells.append(element("tr", element("th", "Nearest training images"), element("td", str(missing))))
    return element("table", element("tbody", *cells), class_="numbers")


def _copies(seen: Known, out: Drawn) -> Html:
    """Each image above the training image nearest to it, and whether that is nearer than real images come."""
    near, distances = seen.nearest(out.images)
    pairs = [
        image_grid(_stacked([[image], [other]], 0), 1, padding=0) for image, other in zip(out.images, near, strict=True)
    ]
    shares = [seen.nearer_share(float(each)) for each in distances]
    shown = []
    for picture, share in zip(pairs, shares, strict=True):
        text = "nearer than any unseen image: a copy?" if share == 0 else f"{share:.0%} of unseen images lie nearer"
        shown.append(
            element(
                "figure",
                element("img", src=data_uri(picture.convert("RGB")), alt="A drawn image above a training image."),
                element("figcaption", text),
            )
        )
    return element("td", element("div", *shown, class_="copies"))


def _plot(models: Models, now: dict[str, float]) -> Html:
    if models.report is None:
        return element("p", "Start with --report report.json, of scripts/compare.py, to see distance against time.")
    return front_plot(settings_in(models.report), now)
