"""The pictures of the page, each with what to look for in it."""

from collections.abc import Mapping
from dataclasses import dataclass

from comparison.report.columns import setting
from comparison.report.results import Report
from var.evaluation.report.html import Html, element, facts, figure, image
from var.quantities import fixed


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Everything a page shows besides numbers, each as SVG text; see `comparison.report.figures`."""

    real: str  # samples by class: one row per class
    var: str
    diffusion: str
    scales: str  # VAR: the image after every scale, coarse to fine
    denoising: str  # diffusion: the image on its way from noise
    reconstructions: str  # originals above what the tokenizer makes of them
    code_usage: str
    tradeoff: str
    loss_curves: Mapping[str, str]  # title of the training stage -> its curve


def tradeoff(report: Report, pictures: Pictures) -> list[Html]:
    name = report.distance_name
    caption = (
        "Nearer to the lower left corner is better. Every mark is one sampler setting, labelled by its number of steps "
        "(diffusion) and its guidance scale g. The band joins the settings that no other one beats on both time and "
        "distance: the colour of its marks says which model to take for a given budget. Where diffusion reaches VAR's "
        "distance, an arrow leads there. Marks above the Gaussian's line are worse than a model that knows no strokes."
    )
    alt = f"Scatter plot of {name} against seconds per 1000 images, logarithmic, for {len(report.results)} settings."
    return [figure(pictures.tradeoff, caption, alt=alt, wide=True)]


def samples(report: Report, pictures: Pictures) -> list[Html]:
    what = "One row per class; these are the first samples, not chosen ones."
    grids = [
        figure(picture, caption, alt=f"{title}: a grid with one row of images for each class.", title=title)
        for title, picture, caption in (
            ("Real images", pictures.real, "What the models learnt from."),
            (setting(report.headline("var")), pictures.var, what),
            (f"Diffusion, {setting(report.headline('diffusion'))}", pictures.diffusion, what),
        )
    ]
    hint = (
        "Look along the rows: does every image show its class, do the images of a row differ from each other "
        "as much as the real ones do, and are strokes as smooth?"
    )
    return [element("p", hint), element("div", *grids, class_="beside")]


def process(report: Report, pictures: Pictures) -> list[Html]:
    return [
        figure(
            pictures.scales,
            "Each column is the image decoded after one more scale; watch when the class can be told, and what the "
            "finer scales still add. Every column costs one pass of the transformer.",
            alt=f"A VAR sample after each of its {len(report.tokenizer['sides'])} scales, from blurred to sharp.",
            title="VAR: from coarse to fine",
        ),
        figure(
            pictures.denoising,
            "The same network removes a little noise again and again, from pure noise at the left to the sample at the "
            "right; only some of the steps are shown.",
            alt="A diffusion sample at several timesteps, from noise to a clear image.",
            title="Diffusion: from noise to image",
            wide=True,
        ),
    ]


def tokenizer(report: Report, pictures: Pictures) -> list[Html]:
    numbers = report.tokenizer
    show = fixed(3)
    rows = [
        ("PSNR, test images", f"{numbers['psnr_test']:.1f} dB"),
        ("PSNR, training images", f"{numbers['psnr_train']:.1f} dB"),
        (f"{report.distance_name} of reconstructions", show(numbers["reconstruction_fd"])),
        ("Codes in use", f"{numbers['codes_used']:.0%}"),
    ]
    limit = "VAR draws tokens, so no sample of it can be better than what the tokenizer can decode."
    return [
        element("p", limit),
        facts(rows),
        figure(
            pictures.reconstructions,
            "Top: test images that the tokenizer has never seen. Bottom: what is left of them in tokens. Look for "
            "strokes that thin out, break or vanish.",
            alt="A row of original images above a row of their reconstructions.",
            title="Reconstructions",
        ),
        figure(
            pictures.code_usage,
            "Left: how much of the codebook each scale uses at all. Right: how many codes it uses evenly (perplexity). "
            "Coarse scales hold few tokens per image and need few codes; low bars at fine ones would mean a collapse.",
            alt="Bar charts of codebook usage and perplexity for every scale.",
            title="Codes by scale",
            wide=True,
        ),
    ]


def training(report: Report, pictures: Pictures) -> list[Html]:
    curves = [
        element("div", element("h3", title), image(curve, alt=f"Training loss of the stage: {title}."))
        for title, curve in pictures.loss_curves.items()
    ]
    caption = (
        "Loss over training steps, each point the mean since the last one; the number is the final value. A curve that "
        "still falls at its end asks for more steps. Losses of different models measure different things."
    )
    return [element("figure", element("div", *curves, class_="curves"), element("figcaption", caption))]
