"""What a comparison says on even terms, in words: at equal distance, in equal time, after equal training."""

from collections.abc import Callable, Mapping
from typing import Any

from comparison.report.fairness import LEVEL_RATIO, TIME, Row, equal_distance, equal_time, front, speed_ratio
from comparison.report.results import Report
from comparison.report.wording import distance, factor, in_words, times, training_time, with_and, word
from var.quantities import flops, quantity, significant

_SPENT: dict[str, Callable[[Row], Any]] = {
    "size": lambda row: row["parameters"],
    "training time": lambda row: row["train_seconds"] and row["train_seconds"] * row.get("train_processes", 1),
}


def on_even_terms(report: Report, first: str, second: str) -> list[str]:
    """A sentence or two for each kind of evenness, in both directions: each model is held to what the other reached."""
    mine, other = report.headline(first), report.headline(second)
    name = word(second)
    return [
        _speed_at(report, mine, second, "Speed at equal distance: ", f"{word(first)}'s"),
        _speed_at(report, _best(report, second), first, f"Speed at {name}'s best distance: ", f"{name}'s best"),
        _within_time_of(report, mine, second, "At equal time: "),
        _within_time_of(report, other, first, f"At {name}'s time: "),
    ]


def front_of(report: Report, model: str) -> str:
    """The settings of a model that no other setting of it beats on both time and distance."""
    rows = report.rows(model)
    best = front(rows)
    points = [f"{in_words(row)} {distance(row['fd'])} in {significant(row[TIME])} s" for row in best]
    return f"Front of {word(model)}, {len(best)} of {len(rows)} settings: {with_and(points)}."


def budget(rows: Mapping[str, Row]) -> list[str]:
    """Size and training of all models, and a caution where the operations of the training differ."""
    names = {model: word(model) for model in rows}
    parts = [f"{names[model]} has {_spent(row)}" for model, row in rows.items()]
    if len(rows) == 1:
        return [f"Budget: {parts[0]}."]
    pairs = {name: [spent(row) for row in rows.values()] for name, spent in _SPENT.items()}
    uneven = [name for name, pair in pairs.items() if None not in pair and max(pair) > LEVEL_RATIO * min(pair)]
    lead = f"not equal, {with_and(uneven)} differ{'s' if len(uneven) == 1 else ''} by more than 10%" if uneven else ""
    text = f"Budget: {lead or 'equal within 10%'}. {with_and(parts)}."
    spent = {model: row.get("train_flops") for model, row in rows.items()}
    if None in spent.values():
        return [text, "Caution. The operations of the trainings were not counted: they may be unequal."]
    counted = {model: float(number or 0) for model, number in spent.items()}
    amounts = {names[model]: flops(number) for model, number in counted.items()}
    most, least = max(counted, key=lambda model: counted[model]), min(counted.values())
    if counted[most] <= LEVEL_RATIO * least:
        return [f"{text} Training took {_amounts(amounts, ' ')}, equal within 10%."]
    share = factor(counted[most] / least) if least > 0 else "any number of"
    caution = f"Caution. Training FLOPs are not equal: {_amounts(amounts, ' took ')}, "
    return [text, f"{caution}{share} times as many for {names[most]}; its distance owes something to that."]


def _amounts(told: dict[str, str], verb: str) -> str:
    (name, amount), *others = told.items()
    return with_and([f"{name}{verb}{amount}", *(f"{other} {more}" for other, more in others)])


def _spent(row: Row) -> str:
    size = f"{quantity(row['parameters'])} parameters"
    return f"{size} and trained for {time}" if (time := training_time(row)) else size


def _best(report: Report, model: str) -> Row:
    return min(report.rows(model), key=lambda row: (row["fd"], row[TIME]))


def _speed_at(report: Report, target: Row, other: str, lead: str, whose: str) -> str:
    """What the other model takes to reach the distance of `target`."""
    model = target["model"]
    goal = f"{whose} {report.distance_name} of {distance(target['fd'])}"
    cost = equal_distance(report.rows(other), target["fd"])
    if cost is None:
        nearest = _best(report, other)
        text = f"none of the {word(other)} settings that were tried reaches {goal}; the nearest, {in_words(nearest)}, "
        return f"{lead}{text}stays at {distance(nearest['fd'])}. So there is no ratio to give."
    slow = cost.row[TIME]
    text = (
        f"the fastest {word(other)} setting that reaches {goal} is {in_words(cost.row)} with "
        f"{distance(cost.row['fd'])} in {significant(slow)} s, against {significant(target[TIME])} s: "
        f"{times({model: target[TIME], other: slow})}"
    )
    if cost.seconds < 0.99 * slow:
        exact = times({model: target[TIME], other: cost.seconds})
        text += f" (interpolated between the settings, to just that distance: {exact})"
    return f"{lead}{text}{_noise_of_ratio(report, target, other)}."


def _noise_of_ratio(report: Report, target: Row, other: str) -> str:
    """What the noise of the distances makes of the ratio; nothing where several generation seeds were not drawn."""
    mine, theirs = report.relative_deviation(target["model"]), report.relative_deviation(other)
    if mine is None or theirs is None:
        return ""
    found = speed_ratio(target, report.rows(other), deviations=(mine, theirs))
    assert found is not None  # the caller found the distance reached
    # As the sentence puts it: how many times as fast the faster one is.
    low, high = (found.low, found.high) if found.ratio >= 1 else (1 / found.high, 1 / found.low)
    between = (
        f"that ratio, {factor(low)},"
        if factor(low) == factor(high)
        else f"a ratio from {factor(low)} to {factor(high)}"
    )
    text = f"; the noise of the samples leaves {between} (16-84 %)"
    missed = 1 - found.reached
    return text + (f", and in {missed:.0%} of the draws none" if missed > 0.005 else "")


def _within_time_of(report: Report, row: Row, other: str, lead: str) -> str:
    """What the other model gives in the time that `row` takes."""
    name = word(row["model"])
    seconds, best = significant(row[TIME]), equal_time(report.rows(other), row[TIME])
    if best is None:
        fastest = significant(min(each[TIME] for each in report.rows(other)))
        nothing = f"no {word(other)} setting that was tried is as fast as {name} ({seconds} s)"
        return f"{lead}{nothing}; the fastest takes {fastest} s."
    return f"{lead}within {name}'s {seconds} s, {word(other)}'s best is {in_words(best)} with {distance(best['fd'])}."
