"""The report as one page: verdict first, then the numbers, then what the samples look like and how they come about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from comparison.report.columns import MODELS, score_columns, setting
from comparison.report.results import Report
from comparison.report.verdict import verdict, winners
from var.evaluation.report.html import Html, Picture, bullets, document, element, facts, figure, image, section
from var.evaluation.report.page import spread_body
from var.evaluation.table import Score
from var.quantities import fixed, quantity, significant

SECTIONS = {
    "verdict": "Who wins at what",
    "compared": "What was compared",
    "results": "Results and controls",
    "spread": "Scores over generation seeds",
    "tradeoff": "Distance against sampling time",
    "samples": "Samples by class",
    "process": "How one image comes about",
    "tokenizer": "The tokenizer behind VAR",
    "training": "Training",
    "reproduce": "Settings and machine",
}
"""The page's sections: the id of each and its title."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Everything a page shows besides numbers, each as PNG bytes or SVG text; see `comparison.report.figures`."""

    real: Picture  # samples by class: a row a class
    var: Picture
    diffusion: Picture
    scales: Picture  # VAR: the image after every scale, coarse to fine
    denoising: Picture  # diffusion: the image on its way from noise
    reconstructions: Picture  # originals above what the tokenizer makes of them
    code_usage: Picture
    tradeoff: Picture
    loss_curves: Mapping[str, Picture]  # title of the training stage -> its curve


def page(report: Report, pictures: Pictures) -> str:
    """The page as HTML text that needs no other file; raises `UserError` for a report without headline rows.

    `report.settings["data"]` and `["reference"]`, if given, say in words what was learnt and what was compared with.
    """
    sentences = verdict(report)
    title = f"VAR and diffusion on {report.settings.get('data', report.settings['extractor'])}"
    bodies = {key: body for key, body in _bodies(report, pictures, sentences).items() if body}
    links = [element("a", SECTIONS[key], href=f"#{key}") for key in bodies]
    header = element(
        "header",
        element("h1", title),
        element("p", _subtitle(report), class_="muted"),
        element("p", sentences[0], class_="lede"),
        _tiles(report),
        element("nav", *links),
    )
    sections = (section(key, SECTIONS[key], *body) for key, body in bodies.items())
    return document(title, header, element("main", *sections))


def _bodies(report: Report, pictures: Pictures, sentences: list[str]) -> dict[str, list[Html]]:
    """What each section holds; an empty one is left out."""
    return {
        "verdict": [bullets(sentences[1:], class_="verdict")],
        "compared": _compared(report),
        "results": _results(report),
        "spread": _spread(report),
        "tradeoff": [_tradeoff(report, pictures)],
        "samples": _samples(report, pictures),
        "process": _process(report, pictures),
        "tokenizer": _tokenizer(report, pictures),
        "training": _training(report, pictures),
        "reproduce": _reproduce(report),
    }


def _subtitle(report: Report) -> str:
    row = report.headline("var")
    parts = [f"{row['samples']} samples of each model", f"seed {row['seed']}"]
    environment = report.environment
    if "cpu" in environment:
        threads = environment.get("threads")
        parts.append(f"timed on {environment['cpu']}" + (f", threads: {threads}" if threads else ""))
    return ", ".join(parts)


def _tiles(report: Report) -> Html:
    """The four numbers that matter most, side by side for both models."""
    columns = {column.key: column for column in score_columns(report.distance_name)}
    lower, higher = "lower is better", "higher is better"
    return element(
        "div",
        _tile(report, columns["fd"], columns["fd"].title, lower),
        _tile(report, columns["seconds_per_1000_images"], "Seconds per 1000 images", lower),
        _tile(report, columns["class_consistency"], "Class consistency", higher),
        _tile(report, columns["recall"], "Recall", higher),
        class_="tiles",
    )


def _tile(report: Report, column: Score, title: str, direction: str) -> Html:
    rows = {model: report.headline(model) for model in MODELS}
    winner = winners(report).get(column.key)
    lines = [
        element(
            "tr",
            element("th", name, class_=model, scope="row"),
            element("td", column.cell(rows[model].get(column.key)), class_="best" if model == winner else ""),
        )
        for model, name in MODELS.items()
    ]
    real = report.controls.get("real_test", {})
    note = direction + (
        f"\nreal test images: {column.cell(real.get(column.key))}" if column.cell(real.get(column.key)) != "-" else ""
    )
    return element("div", element("h3", title), element("table", *lines), element("p", note), class_="tile")


def _best(column: Score, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The row with the better score as it is written; None if they look alike or the score has no better side."""
    if column.better is None or any(row.get(column.key) is None for row in rows):
        return None
    if len({column.cell(row.get(column.key)) for row in rows}) == 1:
        return None
    choose = min if column.better == "lower" else max
    return choose(rows, key=lambda row: row[column.key])


def _compared(report: Report) -> list[Html]:
    var, diffusion = report.headline("var"), report.headline("diffusion")
    data = report.settings.get("data", report.settings["extractor"])
    reference = report.settings.get("reference", "the real images")
    sides = ", ".join(_size(side) for side in report.tokenizer["sides"])
    introduction = (
        f"Two ways to generate images learnt the same data, {data}, and were judged by one evaluation. Their settings "
        f"were fixed in presets before this run. Each drew {var['samples']} images, the same number of every class, "
        f"which were compared with {reference} in the features of one small classifier, "
        f"the network {report.settings['extractor']!r}."
    )
    return [
        element("p", introduction),
        facts(
            [
                (
                    "VAR",
                    f"A transformer writes an image as token maps of growing side ({sides}), a whole map at each of "
                    f"{var['steps']} steps. {_cost(var)}, its tokenizer included.",
                ),
                (
                    "Diffusion",
                    f"A U-Net removes noise in {diffusion['steps']} steps ({diffusion['sampler'].upper()}). "
                    f"{_cost(diffusion)}.",
                ),
                (
                    "Guidance",
                    "The step from the unconditional prediction towards the class is stretched by g: "
                    f"{var['guidance_scale']:g} for VAR, {diffusion['guidance_scale']:g} for diffusion; 1 means off.",
                ),
            ]
        ),
    ]


def _cost(row: dict[str, Any]) -> str:
    return f"{quantity(row['parameters'])} parameters, trained in {significant(row['train_seconds'])} s"


def _size(side: Any) -> str:
    return f"{side}x{side}" if isinstance(side, int) else "x".join(str(length) for length in side)


def _results(report: Report) -> list[Html]:
    note = (
        "Above, the settings that were fixed beforehand, the better score of the two in bold. Below, in grey, the "
        "controls, which say what a score is worth: real images set the floor; a Gaussian per class in pixel space and "
        "token marginals (each token drawn on its own, given the class) are what a model must beat. "
        f"{report.distance_name} shrinks as the number of images grows, so compare rows of equal size."
    )
    columns = score_columns(report.distance_name)
    terms = [part for column in columns for part in (element("dt", column.title), element("dd", column.meaning))]
    rest = [row for row in report.results if not row.get("headline")]
    rows = sorted(rest, key=lambda row: (list(MODELS).index(row["model"]), row["sampler"], row["steps"]))
    every = _score_table(columns, {"": [(setting(row), row) for row in rows]})
    everything = element("details", element("summary", f"All {len(rows)} other settings that were tried"), every)
    labelled = report.labelled_rows()
    bodies = {
        "": [(label, row) for label, row in labelled if "model" in row],
        "controls": [(label, row) for label, row in labelled if "model" not in row],
    }
    return [
        _score_table(columns, bodies, mark_best=True),
        element("p", note, class_="note"),
        *([everything] if rows else []),
        element("details", element("summary", "What the scores mean"), element("dl", *terms, class_="terms")),
    ]


def _score_table(
    columns: list[Score], bodies: dict[str, list[tuple[str, dict[str, Any]]]], *, mark_best: bool = False
) -> Html:
    """A table with one body for each class name in `bodies`."""
    arrows = {"lower": "lower", "higher": "higher", None: ""}
    heads = [element("th", "", scope="col")]
    for column in columns:
        hints = "\n".join(hint for hint in (column.unit, arrows[column.better]) if hint)
        heads.append(
            element("th", column.title.replace(" ", "\n"), element("small", hints), scope="col", title=column.meaning)
        )
    parts = [element("thead", element("tr", *heads))]
    for name, rows in bodies.items():
        scores = [row for _, row in rows]
        best = {column.key: _best(column, scores) if mark_best and name == "" else None for column in columns}
        lines = []
        for label, row in rows:
            cells = [
                element("td", column.cell(row.get(column.key)), class_="best" if row is best[column.key] else "")
                for column in columns
            ]
            lines.append(element("tr", element("th", label, scope="row", class_=row.get("model", "")), *cells))
        parts.append(element("tbody", *lines, class_=name))
    return element("div", element("table", *parts, class_="scores"), class_="scroll", tabindex="0")


def _spread(report: Report) -> list[Html]:
    reports = report.score_reports()
    return spread_body(reports) if reports else []


def _tradeoff(report: Report, pictures: Pictures) -> Html:
    name = report.distance_name
    caption = (
        "Nearer to the lower left corner is better. Every mark is one sampler setting, labelled by its number of steps "
        "(diffusion) and its guidance scale g. The band joins the settings that no other one beats on both time and "
        "distance: the colour of its marks says which model to take for a given budget. Where diffusion reaches VAR's "
        "distance, an arrow leads there. Marks above the Gaussian's line are worse than a model that knows no strokes."
    )
    alt = f"Scatter plot of {name} against seconds per 1000 images, logarithmic, for {len(report.results)} settings."
    return figure(pictures.tradeoff, caption, alt=alt, wide=True)


def _samples(report: Report, pictures: Pictures) -> list[Html]:
    what = "A row a class; these are the first samples, not chosen ones."
    titles = {
        "real": ("Real images", pictures.real, "What the models learnt from."),
        "var": (setting(report.headline("var")), pictures.var, what),
        "diffusion": (f"Diffusion, {setting(report.headline('diffusion'))}", pictures.diffusion, what),
    }
    grids = [
        figure(picture, caption, alt=f"{title}: a grid with one row of images for each class.", title=title)
        for title, picture, caption in titles.values()
    ]
    hint = (
        "Look along the rows: does every image show its class, do the images of a row differ from each other "
        "as much as the real ones do, and are strokes as smooth?"
    )
    return [element("p", hint), element("div", *grids, class_="beside")]


def _process(report: Report, pictures: Pictures) -> list[Html]:
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


def _tokenizer(report: Report, pictures: Pictures) -> list[Html]:
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
            "Coarse scales hold few tokens an image and need few codes; low bars at fine scales would mean a collapse.",
            alt="Bar charts of codebook usage and perplexity for every scale.",
            title="Codes by scale",
            wide=True,
        ),
    ]


def _training(report: Report, pictures: Pictures) -> list[Html]:
    curves = [
        element("div", element("h3", title), image(curve, alt=f"Training loss of the stage: {title}."))
        for title, curve in pictures.loss_curves.items()
    ]
    caption = (
        "Loss over training steps, each point the mean since the last one; the number is the final value. A curve that "
        "still falls at its end asks for more steps. Losses of different models measure different things."
    )
    return [element("figure", element("div", *curves, class_="curves"), element("figcaption", caption))]


def _reproduce(report: Report) -> list[Html]:
    blocks = []
    for title, content in (("Settings", report.settings), ("Machine, versions, seconds", report.environment)):
        blocks.append(element("details", element("summary", title), facts(_flat(content))))
    note = "All numbers of this page are in report.json, which lies beside it."
    return [element("p", note), *blocks]


def _flat(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Names and values of a nested mapping, in its order: ("var.steps", "4")."""
    rows = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else _written(value)
            rows.append((f"{prefix}{key}", text))
    return rows


def _written(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
