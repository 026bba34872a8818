"""The pictures of the page, each with what to look for in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from comparison.report.columns import MODELS, setting
from comparison.report.results import Report
from var.evaluation.report.html import Html, element, figure, image


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Everything a page shows besides numbers, as SVG text or within figures; see `comparison.report.figures`."""

    real: str  # by class: one row per class
    samples: Mapping[str, str]  # the same of each model
    processes: Sequence[Html]  # how an image comes about: all models under a slider, and a figure for each
    edits: Sequence[Html] = ()  # of real images, by all models that edit
    details: Sequence[Html] = ()  # of a tokenizer
    tradeoff: str
    loss_curves: Mapping[str, str]  # title of the training stage -> its curve


def tradeoff(report: Report, pictures: Pictures) -> list[Html]:
    name = report.distance_name
    caption = (
        "Nearer to the lower left corner is better. Every mark is one sampler setting, labelled by its guidance "
        "scale g and by its number of steps where that can be chosen. The band joins the settings that no other one "
        "beats on both time and distance: the colour of its marks says which model to take for a given budget. Where "
        "another model reaches the distance of the first, an arrow leads there. Marks above the Gaussian's line are "
        "worse than a model that knows no shapes. Point at a mark for its numbers."
    )
    alt = f"Scatter plot of {name} against seconds per 1000 images, logarithmic, for {len(report.results)} settings."
    return [figure(pictures.tradeoff, caption, alt=alt, wide=True, live=True)]


def samples(report: Report, pictures: Pictures) -> list[Html]:
    what = "One row per class; these are the first samples, not chosen ones."
    grids = [
        figure(picture, caption, alt=f"{title}: a grid with one row of images for each class.", title=title)
        for title, picture, caption in (
            ("Real images", pictures.real, "What the samples are held to."),
            *(
                (_titled(model, setting(report.headline(model))), picture, what)
                for model, picture in pictures.samples.items()
            ),
        )
    ]
    hint = (
        "Look along the rows: does every image show its class, do the images of a row differ from each other "
        "as much as the real ones do, and are shapes as clean?"
    )
    return [element("p", hint), element("div", *grids, class_="beside")]


def _titled(model: str, how: str) -> str:
    return how if how.startswith(MODELS[model]) else f"{MODELS[model]}, {how}"


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
