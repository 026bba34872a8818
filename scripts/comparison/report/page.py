"""The report as one page: verdict first, then the numbers, then what the samples look like and how they come about."""

from collections.abc import Callable
from typing import Any

from comparison.families import FAMILIES
from comparison.report.columns import MODELS
from comparison.report.families import is_of_families
from comparison.report.picture_sections import Pictures, samples, tradeoff, training
from comparison.report.results import Report
from comparison.report.score_sections import results, tiles
from comparison.report.verdict import verdict
from comparison.report.wording import training_time, with_and, word
from var.evaluation.report.html import Html, bullets, document, element, facts, section, settings_table
from var.evaluation.report.page import spread_body
from var.evaluation.report.scrubbing import scrubbing
from var.quantities import quantity


def page(report: Report, pictures: Pictures) -> str:
    """The page as HTML text that needs no other file; raises `UserError` for a report without headline rows.

    `report.settings["data"]` and `["reference"]`, if given, say in words what was learnt and what was compared with.
    """
    names = [MODELS[model] if place == 0 else word(model) for place, model in enumerate(report.models)]
    subject = "Every family of generative models" if is_of_families(report) else with_and(names)
    title = f"{subject} on {report.settings.get('data', report.settings['extractor'])}"
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
    return document(title, header, element("main", *sections), scrubbing())


def _subtitle(report: Report) -> str:
    row, seeds = next(iter(report.headlines().values())), report.settings.get("seeds", ())
    parts = [f"{row['samples']} samples of each model"]
    first = f"pictures, tokenizer and spread over generation seeds of seed {row['seed']}"
    several = f"means over {len(seeds)} training seeds ({first})"
    parts.append(several if len(seeds) > 1 else f"seed {row['seed']}")
    environment = report.environment
    if "cpu" in environment:
        threads = environment.get("threads")
        parts.append(f"timed on {environment['cpu']}" + (f", threads: {threads}" if threads else ""))
    return ", ".join(parts)


FIRST = 4
"""Sentences on many models that are seen at first sight; the others are opened."""


def _verdict(report: Report) -> list[Html]:
    said = verdict(report)[1:]
    first = said[:FIRST] if is_of_families(report) else said
    rest = said[len(first) :]
    shown = [bullets(first, class_="verdict")]
    if rest:
        title = element("summary", f"{len(rest)} more findings: other scores, few evaluations, each family")
        shown.append(element("details", title, bullets(rest, class_="verdict")))
    return shown


TOLD = ("preset", "timing", "licence", "attribution")
"""Settings that are sentences or names."""


def _compared(report: Report) -> list[Html]:
    rows, settings = report.headlines(), report.settings
    data, reference = settings.get("data", settings["extractor"]), settings.get("reference", "the real images")
    chosen_on = settings.get("chosen_on")
    fixed = f"Guidance and steps were chosen on {chosen_on}" if chosen_on else "Their settings were fixed beforehand"
    count = next(iter(rows.values()))["samples"]
    how = (
        f"were trained elsewhere, judged on {data}"
        if report.trained_elsewhere
        else f"learnt the same data, {data}, judged"
    )
    introduction = (
        f"Ways to generate images that {how} by one evaluation. {fixed}. Each drew "
        f"{count} images, of classes in the same shares, which were compared with {reference} in the features of one "
        f"small classifier, the network {settings['extractor']!r}."
    )
    guidance = with_and([f"{row['guidance_scale']:g} for {word(model)}" for model, row in rows.items()])
    told = [
        *((MODELS[model], f"{FAMILIES[model].about(row, report)} {_cost(row)}.") for model, row in rows.items()),
        (
            "Guidance",
            f"The step from the unconditional prediction towards the class is stretched by g: {guidance}; 1 is off.",
        ),
        *((name.capitalize(), settings[name]) for name in TOLD if settings.get(name)),
        *(("Terms", each) for each in settings.get("terms", ())),
        *(("Data", note) for note in settings.get("notes", ())),
    ]
    return [element("p", introduction), facts(told)]


def _cost(row: dict[str, Any]) -> str:
    trained = f", trained in {time}" if (time := training_time(row)) else ""
    return f"{quantity(row['parameters'])} parameters{trained}, all stages together"


def _spread(report: Report) -> list[Html]:
    reports = report.score_reports()
    return spread_body(reports) if reports else []


def _reproduce(report: Report) -> list[Html]:
    told = {"Settings": report.settings, "Machine, versions, seconds": report.environment}
    blocks = [element("details", element("summary", title), settings_table(part)) for title, part in told.items()]
    return [element("p", "All numbers of this page are in report.json, which lies beside it."), *blocks]


SECTIONS: dict[str, tuple[str, Callable[[Report, Pictures], list[Html]]]] = {
    "verdict": ("Who wins at what", lambda report, _: _verdict(report)),
    "compared": ("What was compared", lambda report, _: _compared(report)),
    "results": ("Results and controls", lambda report, _: results(report)),
    "spread": ("Scores over generation seeds", lambda report, _: _spread(report)),
    "tradeoff": ("Distance against sampling time", tradeoff),
    "samples": ("Samples by class", samples),
    "process": ("How one image comes about", lambda _, pictures: list(pictures.processes)),
    "edits": ("Half of an image redrawn", lambda _, pictures: list(pictures.edits)),
    "tokenizer": ("The tokenizer", lambda _, pictures: list(pictures.details)),
    "training": ("Training", training),
    "reproduce": ("Settings and machine", lambda report, _: _reproduce(report)),
}
"""The page's sections: the id of each, its title and what it holds; an empty one is left out."""
