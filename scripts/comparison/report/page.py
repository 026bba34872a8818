"""The report as one page: verdict first, then the numbers, then what the samples look like and how they come about."""

from collections.abc import Callable
from typing import Any

from comparison.report.picture_sections import Pictures, process, samples, tokenizer, tradeoff, training
from comparison.report.results import Report
from comparison.report.score_sections import results, tiles
from comparison.report.verdict import verdict
from comparison.report.wording import in_pixels
from var.evaluation.report.html import Html, bullets, document, element, facts, section, settings_table
from var.evaluation.report.page import spread_body
from var.quantities import quantity, significant


def page(report: Report, pictures: Pictures) -> str:
    """The page as HTML text that needs no other file; raises `UserError` for a report without headline rows.

    `report.settings["data"]` and `["reference"]`, if given, say in words what was learnt and what was compared with.
    """
    title = f"VAR and diffusion on {report.settings.get('data', report.settings['extractor'])}"
    bodies = {key: fill(report, pictures) for key, (_, fill) in SECTIONS.items()}
    shown = {key: (SECTIONS[key][0], body) for key, body in bodies.items() if body}
    header = element(
        "header",
        element("h1", title),
        element("p", _subtitle(report), class_="muted"),
        element("p", verdict(report)[0], class_="lede"),
        tiles(report),
        element("nav", *(element("a", name, href=f"#{key}") for key, (name, _) in shown.items())),
    )
    sections = (section(key, name, *body) for key, (name, body) in shown.items())
    return document(title, header, element("main", *sections))


def _subtitle(report: Report) -> str:
    row = report.headline("var")
    parts = [f"{row['samples']} samples of each model", f"seed {row['seed']}"]
    environment = report.environment
    if "cpu" in environment:
        threads = environment.get("threads")
        parts.append(f"timed on {environment['cpu']}" + (f", threads: {threads}" if threads else ""))
    return ", ".join(parts)


def _compared(report: Report) -> list[Html]:
    var, diffusion = report.headline("var"), report.headline("diffusion")
    data = report.settings.get("data", report.settings["extractor"])
    reference = report.settings.get("reference", "the real images")
    sides = ", ".join(in_pixels(side) for side in report.tokenizer["sides"])
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


def _spread(report: Report) -> list[Html]:
    reports = report.score_reports()
    return spread_body(reports) if reports else []


def _reproduce(report: Report) -> list[Html]:
    told = {"Settings": report.settings, "Machine, versions, seconds": report.environment}
    blocks = [element("details", element("summary", title), settings_table(part)) for title, part in told.items()]
    return [element("p", "All numbers of this page are in report.json, which lies beside it."), *blocks]


SECTIONS: dict[str, tuple[str, Callable[[Report, Pictures], list[Html]]]] = {
    "verdict": ("Who wins at what", lambda report, _: [bullets(verdict(report)[1:], class_="verdict")]),
    "compared": ("What was compared", lambda report, _: _compared(report)),
    "results": ("Results and controls", lambda report, _: results(report)),
    "spread": ("Scores over generation seeds", lambda report, _: _spread(report)),
    "tradeoff": ("Distance against sampling time", tradeoff),
    "samples": ("Samples by class", samples),
    "process": ("How one image comes about", process),
    "tokenizer": ("The tokenizer behind VAR", tokenizer),
    "training": ("Training", training),
    "reproduce": ("Settings and machine", lambda report, _: _reproduce(report)),
}
"""The page's sections: the id of each, its title and what it holds; an empty one is left out."""
