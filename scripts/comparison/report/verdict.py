"""Who wins at what, in plain words that follow from the numbers of a report."""

from collections.abc import Mapping
from itertools import combinations

from comparison.report.columns import MODELS, real_control
from comparison.report.even_terms import budget, front_of, on_even_terms
from comparison.report.fairness import LEVEL_RATIO, SHARES, TIME, Row, level, spreads_of
from comparison.report.families import is_of_families, said_of_families
from comparison.report.results import Report
from comparison.report.wording import distance, factor, in_words, times, with_and, word
from var.errors import UserError
from var.quantities import flops, quantity, significant

_TRIVIAL = {"class_gaussian": "a Gaussian per class in pixel space", "token_marginals": "independent token marginals"}
"""Controls that a model must beat: they know the classes, but not how pixels or tokens depend on each other."""

_SUBJECTS = {
    "fd": "distance",
    TIME: "speed",
    "class_consistency": "class consistency",
    "recall": "recall",
}

Rows = Mapping[str, Row]


def unbeaten_controls(report: Report, model: str) -> list[str]:
    """Names of the controls that the headline of `model` does not beat on distance."""
    fd = report.headline(model)["fd"]
    return [name for name in _TRIVIAL if name in report.controls and not fd < report.controls[name]["fd"]]


def verdict(report: Report) -> list[str]:
    """Who wins at what, one sentence or two for each subject; the first entry is the summary.

    Compares the headline rows of all models, of one alone with the controls only; raises `UserError` if a model has
    none.
    """
    rows = report.headlines()
    if is_of_families(report):
        checked = [_unbeaten(report, model) for model in rows] + [_copying(report, model) for model in rows]
        return [*said_of_families(report), *(sentence for sentence in checked if sentence), budget(rows)[0]]
    won = winners(report)
    sentences = [
        _summary(report, rows, won),
        _distance(report, rows, won.get("fd")),
        *([_speed(rows, won[TIME])] if len(rows) > 1 else []),
        *(sentence for pair in combinations(rows, 2) for sentence in on_even_terms(report, *pair)),
        *(front_of(report, model) for model in rows),
        _class_consistency(rows, won.get("class_consistency")),
        _diversity(rows, won.get("recall")),
        *(_controls(report, model) for model in rows),
        *(_copying(report, model) for model in rows),
        *budget(rows),
    ]
    return [sentence for sentence in sentences if sentence]


def winners(report: Report) -> dict[str, str | None]:
    """The winning model for each score that all headline rows have; None where another is `level` with the best.

    Nothing is won by one model alone.
    """
    rows = list(report.headlines().values())
    won: dict[str, str | None] = {}
    for key in _SUBJECTS if len(rows) > 1 else ():
        if all(row[key] is not None for row in rows):
            best, *others = sorted(rows, key=lambda row: row[key], reverse=key in SHARES)
            won[key] = None if any(level(key, best, row) for row in others) else best["model"]
    return won


def _summary(report: Report, rows: Rows, won: Mapping[str, str | None]) -> str:
    if len(rows) == 1:
        (model,) = rows
        text = f"{MODELS[model]} alone: its {report.distance_name} is {distance(rows[model]['fd'])}."
    else:
        subjects = {
            model: [_SUBJECTS[key] for key, winner in won.items() if winner == model] for model in (*rows, None)
        }
        parts = [f"{word(model)} wins on {with_and(subjects[model])}" for model in rows if subjects[model]]
        even, all_of_them = subjects[None], "both models" if len(rows) == 2 else "the best models"
        if even:
            parts.append(
                f"they are level on {with_and(even)}" if parts else f"{all_of_them} are level on {with_and(even)}"
            )
        text = "; ".join(parts) + "."
        text = text[:1].upper() + text[1:]
    losers = [word(model) for model in rows if unbeaten_controls(report, model)]
    if losers:
        text += f" But {with_and(losers)} {'do' if len(losers) > 1 else 'does'} not beat the controls."
    return text


def _wins(winner: str | None, rows: Rows, key: str) -> str:
    """Who wins, or within what all or some are level."""
    if winner is not None:
        return f"{MODELS[winner]} wins"
    if spreads_of(key, rows.values()) is not None:
        return "level, within the spread over training seeds"
    within = {"fd": f", less than {LEVEL_RATIO - 1:.0%} apart", TIME: ""}
    return f"level{within.get(key, ', within two standard errors')}"


def _distance(report: Report, rows: Rows, winner: str | None) -> str:
    low, *others = sorted(row["fd"] for row in rows.values())
    lead = ""
    if others:
        clear = winner is not None and low > 0 and others[0] > LEVEL_RATIO * low
        lead = _wins(winner, rows, "fd") + (f" by a factor of {factor(others[0] / low)}. " if clear else ". ")
    (first, mine), *rest = rows.items()
    numbers = "".join(f", {word(model)}'s {distance(row['fd'])}" for model, row in rest)
    text = f"Distance: {lead}{MODELS[first]}'s {report.distance_name} is {distance(mine['fd'])}{numbers}"
    text += " (lower is better)"
    if found := real_control(report.controls):
        kind = "test images" if found[0] == "real_test" else "images"
        text += f"; real {kind} score {_control_score(report, found[0])}"
    ratios = [f"{word(model)} {row['fd_ratio']:.2f}" for model, row in rows.items() if row.get("fd_ratio") is not None]
    return text + (f". Over that of real images at equal n (FDr): {with_and(ratios)}." if ratios else ".")


def _speed(rows: Rows, winner: str | None) -> str:
    (first, mine), *rest = rows.items()
    took = [f"{word(first)} {significant(mine[TIME])} s"]
    took += [f"{in_words(row)} {significant(row[TIME])} s" for _, row in rest]
    two = {model: row[TIME] for model, row in sorted(rows.items(), key=lambda item: item[1][TIME])[:2]}
    low, high = two.values()
    # What wins by less than is told of one training, by its spread, is not called about the same.
    ratio = "" if winner is not None and high <= LEVEL_RATIO * low else f": {times(two)}"
    return f"Speed: {_wins(winner, rows, TIME)}. 1000 images take {with_and(took)}{ratio}.{_operations(rows)}"


def _operations(rows: Rows) -> str:
    """What an image costs apart from the machine."""
    if any(row.get(key) is None for row in rows.values() for key in ("nfe", "flops_per_image")):
        return ""
    costs = [
        f"{word(model)} {quantity(row['nfe'])} evaluations and {flops(row['flops_per_image'])}"
        for model, row in rows.items()
    ]
    return f" An image takes {', and '.join(costs)}."


def _class_consistency(rows: Rows, winner: str | None) -> str:
    values = {model: row["class_consistency"] for model, row in rows.items()}
    if None in values.values():
        return ""
    lead = f"{_wins(winner, rows, 'class_consistency')}. " if len(rows) > 1 else ""
    names = [MODELS[model] if place == 0 else word(model) for place, model in enumerate(values)]
    shares = ", ".join(f"{name} {value:.1%}" for name, value in zip(names, values.values(), strict=True))
    return f"Class consistency: {lead}{shares} of the samples show the class asked for."


def _diversity(rows: Rows, winner: str | None) -> str:
    recall, classes = ({model: row[key] for model, row in rows.items()} for key in ("recall", "diversity"))
    sentences = []
    if None not in recall.values():
        if len(rows) > 1:
            sentences.append(f"{_wins(winner, rows, 'recall')}.")
        (first, share), *rest = recall.items()
        others = "".join(f", {word(model)}'s {value:.1%}" for model, value in rest)
        sentences.append(f"{MODELS[first]}'s samples cover {share:.1%} of the real images (recall){others}.")
    if None not in classes.values():
        spread = ", ".join(f"{word(model)} {value:.2f}" for model, value in classes.items())
        sentences.append(f"Effective number of classes among the samples: {spread}.")
    return "Diversity: " + " ".join(sentences) if sentences else ""


def _controls(report: Report, model: str) -> str:
    fd = report.headline(model)["fd"]
    unbeaten = unbeaten_controls(report, model)
    present = [name for name in _TRIVIAL if name in report.controls]
    if not present:
        raise UserError(f"a verdict needs a control, got none of {' and '.join(_TRIVIAL)}; measure one")
    numbers = with_and([f"{_TRIVIAL[name]} {_control_score(report, name)}" for name in unbeaten or present])
    verb, consequence = "beats", ""
    if unbeaten:
        verb = "does not beat"
        consequence = "; a model without any learning of how pixels or tokens hang together does as well"
    return f"{MODELS[model]} {verb} the controls: it scores {distance(fd)}, {numbers}{consequence}."


def _unbeaten(report: Report, model: str) -> str:
    """Of many models, those that do not beat the controls are told of alone."""
    return _controls(report, model) if unbeaten_controls(report, model) else ""


def _control_score(report: Report, name: str) -> str:
    """The distance of a control, with its number of images where that is not the models'."""
    scores, models = report.controls[name], report.results[0]["samples"]
    count = scores.get("samples", models)
    return distance(scores["fd"]) + ("" if count == models else f" (with {count} images, not {models})")


def _copying(report: Report, model: str) -> str:
    """A warning when samples lie much nearer to training images than real test images do."""
    mine = report.headline(model)["nearest_train_distance"]
    found = real_control(report.controls)
    real = None if found is None else found[1].get("nearest_train_distance")
    if mine is None or not real or mine >= 0.85 * real:
        return ""
    numbers = f"{mine:.2f} at the median, against {real:.2f} for real test images"
    return f"Copying: {MODELS[model]}'s samples lie close to training images, {numbers}."
