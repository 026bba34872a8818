"""What a comparison of every family says, in words: who is best at what, and what each family cannot do."""

from collections.abc import Mapping

from comparison.families import FAMILIES
from comparison.report.columns import MODELS
from comparison.report.fairness import TIME, Row, front, level
from comparison.report.results import Report
from comparison.report.wording import distance, in_words, with_and, word
from var.quantities import fixed, significant

FEW = (2, 5, 10)
"""Network evaluations of an image, at most so many."""

_PERCENT = "{:.1%}".format
_SUBJECTS = {
    "fd": ("Distance", distance, "lower"),
    "fd_ratio": ("Distance over that of real images (FDr)", fixed(2), "lower"),
    TIME: ("Speed, seconds per 1000 images", significant, "lower"),
    "bits_per_dimension": ("Likelihood, bits per value of an unseen image", fixed(2), "lower"),
    "precision": ("Precision", _PERCENT, "higher"),
    "recall": ("Recall", _PERCENT, "higher"),
    "class_consistency": ("Class consistency", _PERCENT, "higher"),
    "parameters": ("Size, in parameters", lambda number: f"{number:,.0f}", "lower"),
}


def is_of_families(report: Report) -> bool:
    """Whether every model was trained for so many seconds, as families are."""
    return report.settings.get("seconds") is not None


def said_of_families(report: Report) -> list[str]:
    """A sentence or two for each subject; the first entry is the summary."""
    rows = report.headlines()
    found = {key: ranking(rows, key) for key in _SUBJECTS}
    subjects = [_ranked(report, key, order) for key, order in found.items() if len(order) > 1]
    few = [_at_most(report, limit) for limit in FEW]
    return [
        _summary(rows, found),
        *subjects,
        *(sentence for sentence in few if sentence),
        _front(report),
        *(_both_at_once(report, model) for model in rows),
        *(f"{MODELS[model]} {FAMILIES[model].cannot}." for model in rows if hasattr(FAMILIES[model], "cannot")),
    ]


def ranking(rows: Mapping[str, Row], key: str) -> list[Row]:
    """The headline rows that have the score, the best first; of likelihoods those of pixels."""
    known = [row for row in rows.values() if row.get(key) is not None]
    if key == "bits_per_dimension":
        known = [row for row in known if row["likelihood"] != "of tokens"]
    return sorted(known, key=lambda row: row[key], reverse=_SUBJECTS[key][2] == "higher")


def _level_with_best(key: str, order: list[Row]) -> list[Row]:
    return [row for row in order if row is order[0] or level(key, order[0], row)]


def _summary(rows: Mapping[str, Row], found: Mapping[str, list[Row]]) -> str:
    """Which subjects each model wins, alone or level with others."""
    names = {"fd": "distance", TIME: "speed", "bits_per_dimension": "likelihood", "recall": "recall"}
    names["class_consistency"] = "class consistency"
    parts = []
    for key, name in names.items():
        if len(found[key]) > 1:
            best = [word(row["model"]) for row in _level_with_best(key, found[key])]
            parts.append(f"{name} {'goes to' if len(best) == 1 else 'is shared by'} {_few(best)}")
    text = "; ".join(parts) or f"{len(rows)} model, nothing to compare"
    return f"{text[:1].upper()}{text[1:]}."


def _few(names: list[str]) -> str:
    return with_and(names) if len(names) <= 4 else f"{len(names)} families"


def _ranked(report: Report, key: str, order: list[Row]) -> str:
    title, show, _ = _SUBJECTS[key]
    best = _level_with_best(key, order)
    lead = f"{MODELS[best[0]['model']]} is best"
    if len(best) > 1:
        lead += f", level with {with_and([word(row['model']) for row in best[1:]])} (within the spread)"
    told = [f"{word(row['model'])} {show(row[key])}{_deviation(key, row)}{_kind(key, row)}" for row in order]
    return f"{title}: {lead}. In order: {', '.join(told)}."


def _deviation(key: str, row: Row) -> str:
    spread = row.get("spread", {}).get(key)
    return "" if not spread else f" \N{PLUS-MINUS SIGN} {_SUBJECTS[key][1](spread)}"


def _kind(key: str, row: Row) -> str:
    """Of which kind a likelihood is, and what else is known of it."""
    if key != "bits_per_dimension":
        return ""
    other = row.get("bits_estimate")
    return f" ({row['likelihood']}{'' if other is None else f', {other:.2f} by its ODE'})"


def _at_most(report: Report, limit: int) -> str:
    """The nearest samples of few network evaluations, of all settings that were tried."""
    within = [row for row in report.results if row.get("nfe") is not None and row["nfe"] <= limit]
    if not within:
        return ""
    best: dict[str, Row] = {}
    for row in sorted(within, key=lambda row: row["fd"]):
        best.setdefault(row["model"], row)
    told = [f"{word(row['model'])} {distance(row['fd'])} ({_how(row)})" for row in best.values()]
    return f"At most {limit} network evaluations, the best distance of each: {', '.join(told)}."


def _how(row: Row) -> str:
    return f"{in_words(row)}, {row['nfe']:g} evaluation{'' if row['nfe'] == 1 else 's'}"


def _front(report: Report) -> str:
    points = [
        f"{word(row['model'])} {distance(row['fd'])} in {significant(row[TIME])} s ({in_words(row)})"
        for row in front(report.results)
    ]
    return f"Quality and speed together: no other setting is both nearer and faster than {with_and(points)}."


def _both_at_once(report: Report, model: str) -> str:
    """Which families win both against a headline at once, by the best of their settings."""
    mine = report.headline(model)
    better: dict[str, Row] = {}
    for row in sorted(report.results, key=lambda row: row["fd"]):
        clear = row["fd"] < mine["fd"] and row[TIME] < mine[TIME]
        if row["model"] != model and clear and not (level("fd", row, mine) or level(TIME, row, mine)):
            better.setdefault(row["model"], row)
    own = f"{MODELS[model]}'s {distance(mine['fd'])} in {significant(mine[TIME])} s"
    if not better:
        return f"{own}: no other family is nearer and faster at once."
    told = [
        f"{word(each)} ({in_words(row)}: {distance(row['fd'])} in {significant(row[TIME])} s)"
        for each, row in better.items()
    ]
    return f"{own}: {with_and(told)} {'wins' if len(told) == 1 else 'win'} quality and speed together."
