"""Who wins at what, in plain words that follow from the numbers of a report."""

import math
from collections.abc import Mapping

from comparison.report.columns import MODELS
from comparison.report.even_terms import TIME, budget, on_even_terms
from comparison.report.fairness import Row
from comparison.report.results import Report
from comparison.report.wording import LEVEL_RATIO, NAMES, distance, factor, in_words, listed, times
from var.errors import UserError
from var.quantities import flops, quantity, significant

_TRIVIAL = {"class_gaussian": "a Gaussian per class in pixel space", "token_marginals": "independent token marginals"}
"""Controls that a model must beat: they know the classes, but not how pixels or tokens depend on each other."""

_SUBJECTS = {
    "fd": "distance",
    "seconds_per_1000_images": "speed",
    "class_consistency": "class consistency",
    "recall": "recall",
}


def unbeaten_controls(report: Report, model: str) -> list[str]:
    """Names of the controls that the headline of `model` does not beat on distance."""
    fd = report.headline(model)["fd"]
    return [name for name in _TRIVIAL if name in report.controls and not fd < report.controls[name]["fd"]]


def verdict(report: Report) -> list[str]:
    """Who wins at what, one sentence or two for each subject; the first entry is the summary.

    Compares the headline rows of both models; raises `UserError` if a model has none.
    """
    var, diffusion = report.headline("var"), report.headline("diffusion")
    won = winners(report)
    sentences = [
        _summary(report, won),
        _distance(report, won["fd"]),
        _speed(var, diffusion, won["seconds_per_1000_images"]),
        *on_even_terms(report),
        _class_consistency(report, won.get("class_consistency")),
        _diversity(report, won.get("recall")),
        *(_controls(report, model) for model in MODELS),
        *(_copying(report, model) for model in MODELS),
        *budget(var, diffusion),
    ]
    return [sentence for sentence in sentences if sentence]


def winners(report: Report) -> dict[str, str | None]:
    """The winner, "var" or "diffusion", for each score that both headline rows have; None where they are level.

    Distances and times are level within `LEVEL_RATIO`, shares within two standard errors of their difference.
    """
    var, diffusion = report.headline("var"), report.headline("diffusion")
    won: dict[str, str | None] = {}
    for key in ("fd", "seconds_per_1000_images"):
        low, high = sorted((var, diffusion), key=lambda row: row[key])
        won[key] = None if high[key] <= max(low[key], 0) * LEVEL_RATIO else low["model"]
    for key in ("class_consistency", "recall"):
        if var[key] is not None and diffusion[key] is not None:
            low, high = sorted((var, diffusion), key=lambda row: row[key])
            variance = sum(row[key] * (1 - row[key]) / row["samples"] for row in (low, high))
            won[key] = None if high[key] - low[key] <= 2 * math.sqrt(variance) else high["model"]
    return won


def _summary(report: Report, won: Mapping[str, str | None]) -> str:
    subjects = {model: [_SUBJECTS[key] for key, winner in won.items() if winner == model] for model in (*MODELS, None)}
    parts = [f"{NAMES[model]} wins on {listed(subjects[model])}" for model in MODELS if subjects[model]]
    level = subjects[None]
    if level:
        parts.append(f"they are level on {listed(level)}" if parts else f"both models are level on {listed(level)}")
    text = "; ".join(parts) + "."
    text = text[:1].upper() + text[1:]
    losers = [NAMES[model] for model in MODELS if unbeaten_controls(report, model)]
    if losers:
        text += f" But {listed(losers)} {'do' if len(losers) > 1 else 'does'} not beat the controls."
    return text


def _distance(report: Report, winner: str | None) -> str:
    var, diffusion = report.headline("var"), report.headline("diffusion")
    low, high = sorted((var["fd"], diffusion["fd"]))
    if winner is None:
        lead = f"level, less than {LEVEL_RATIO - 1:.0%} apart"
    else:
        lead = f"{MODELS[winner]} wins" + (f" by a factor of {factor(high / low)}" if low > 0 else "")
    numbers = f"{distance(var['fd'])}, diffusion's {distance(diffusion['fd'])} (lower is better)"
    text = f"Distance: {lead}. VAR's {report.distance_name} is {numbers}"
    if "real_test" in report.controls:
        text += f"; real test images score {_control_score(report, 'real_test')}"
    return text + "."


def _speed(var: Row, diffusion: Row, winner: str | None) -> str:
    seconds = var[TIME], diffusion[TIME]
    lead = "level" if winner is None else f"{MODELS[winner]} wins"
    rest = f"1000 images take VAR {significant(seconds[0])} s and {in_words(diffusion)} {significant(seconds[1])} s"
    return f"Speed: {lead}. {rest}: {times(*seconds)}.{_operations(var, diffusion)}"


def _operations(var: Row, diffusion: Row) -> str:
    """What an image costs apart from the machine."""
    if any(row.get(key) is None for row in (var, diffusion) for key in ("nfe", "flops_per_image")):
        return ""
    costs = [f"{quantity(row['nfe'])} evaluations and {flops(row['flops_per_image'])}" for row in (var, diffusion)]
    return f" An image takes VAR {costs[0]}, and diffusion {costs[1]}."


def _class_consistency(report: Report, winner: str | None) -> str:
    values = [report.headline(model)["class_consistency"] for model in MODELS]
    if None in values:
        return ""
    lead = "level, within two standard errors" if winner is None else f"{MODELS[winner]} wins"
    shares = f"VAR {values[0]:.1%}, diffusion {values[1]:.1%}"
    return f"Class consistency: {lead}. {shares} of the samples show the class asked for."


def _diversity(report: Report, winner: str | None) -> str:
    recall, classes = ([report.headline(model)[key] for model in MODELS] for key in ("recall", "diversity"))
    sentences = []
    if None not in recall:
        sentences.append("level, within two standard errors." if winner is None else f"{MODELS[winner]} wins.")
        sentences.append("VAR's samples cover {:.1%} of the real images (recall), diffusion's {:.1%}.".format(*recall))
    if None not in classes:
        spread = "VAR {:.2f}, diffusion {:.2f}".format(*classes)
        sentences.append(f"Effective number of classes among the samples: {spread}.")
    return "Diversity: " + " ".join(sentences) if sentences else ""


def _controls(report: Report, model: str) -> str:
    fd = report.headline(model)["fd"]
    unbeaten = unbeaten_controls(report, model)
    present = [name for name in _TRIVIAL if name in report.controls]
    if not present:
        raise UserError("a verdict needs a control, got neither class_gaussian nor token_marginals; measure one")
    numbers = listed([f"{_TRIVIAL[name]} {_control_score(report, name)}" for name in unbeaten or present])
    verb, consequence = "beats", ""
    if unbeaten:
        verb = "does not beat"
        consequence = "; a model without any learning of how pixels or tokens hang together does as well"
    return f"{MODELS[model]} {verb} the controls: it scores {distance(fd)}, {numbers}{consequence}."


def _control_score(report: Report, name: str) -> str:
    """The distance of a control, with its number of images where that is not the models'."""
    scores, models = report.controls[name], report.results[0]["samples"]
    count = scores.get("samples", models)
    return distance(scores["fd"]) + ("" if count == models else f" (with {count} images, not {models})")


def _copying(report: Report, model: str) -> str:
    """A warning when samples lie much nearer to training images than real test images do."""
    mine = report.headline(model)["nearest_train_distance"]
    real = report.controls.get("real_test", {}).get("nearest_train_distance")
    if mine is None or not real or mine >= 0.85 * real:
        return ""
    numbers = f"{mine:.2f} at the median, against {real:.2f} for real test images"
    return f"Copying: {MODELS[model]}'s samples lie close to training images, {numbers}."
