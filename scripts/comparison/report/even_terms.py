"""What a comparison says on even terms, in words: at equal distance, in equal time, after equal training."""

from comparison.report.columns import MODELS
from comparison.report.fairness import Row, equal_distance, equal_time, front, speed_ratio
from comparison.report.results import Report
from comparison.report.wording import LEVEL_RATIO, NAMES, distance, factor, in_words, listed, times
from var.quantities import flops, quantity, significant

TIME = "seconds_per_1000_images"
_SPENT = {"size": "parameters", "training time": "train_seconds"}
_OTHER = {"var": "diffusion", "diffusion": "var"}


def on_even_terms(report: Report) -> list[str]:
    """A sentence or two for each kind of evenness, in both directions: each model is held to what the other reached."""
    var, diffusion = report.headline("var"), report.headline("diffusion")
    return [
        _speed_at(report, var, "Speed at equal distance: ", "VAR's"),
        _speed_at(report, _best(report, "diffusion"), "Speed at diffusion's best distance: ", "diffusion's best"),
        _within_time_of(report, var, "At equal time: "),
        _within_time_of(report, diffusion, "At diffusion's time: "),
        *(_front(report, model) for model in MODELS),
    ]


def budget(var: Row, diffusion: Row) -> list[str]:
    """Size and training of both models, and a caution where the operations of the training differ."""
    parts = [
        f"{name} has {quantity(row['parameters'])} parameters and trained for {significant(row['train_seconds'])} s"
        for name, row in (("VAR", var), ("diffusion", diffusion))
    ]
    pairs = {name: (var[key], diffusion[key]) for name, key in _SPENT.items()}
    uneven = [name for name, pair in pairs.items() if max(pair) > LEVEL_RATIO * min(pair)]
    lead = f"not equal, {listed(uneven)} differ{'s' if len(uneven) == 1 else ''} by more than 10%" if uneven else ""
    spent = [row.get("train_flops") for row in (var, diffusion)]
    text = f"Budget: {lead or 'equal within 10%'}. {listed(parts)}."
    if None in spent:
        return [text, "Caution. The operations of the trainings were not counted: they may be unequal."]
    a, b = (float(number or 0) for number in spent)
    if max(a, b) <= LEVEL_RATIO * min(a, b):
        return [f"{text} Training took VAR {flops(a)} and diffusion {flops(b)}, equal within 10%."]
    more = "VAR" if a > b else "diffusion"
    share = factor(max(a, b) / min(a, b)) if min(a, b) > 0 else "any number of"
    caution = f"Caution. Training FLOPs are not equal: VAR took {flops(a)} and diffusion {flops(b)}, "
    return [text, f"{caution}{share} times as many for {more}; its distance owes something to that."]


def _best(report: Report, model: str) -> Row:
    return min(report.rows(model), key=lambda row: (row["fd"], row[TIME]))


def _speed_at(report: Report, target: Row, lead: str, whose: str) -> str:
    """What the other model takes to reach the distance of `target`."""
    model, other = target["model"], _OTHER[target["model"]]
    goal = f"{whose} {report.distance_name} of {distance(target['fd'])}"
    cost = equal_distance(report.rows(other), target["fd"])
    if cost is None:
        nearest = _best(report, other)
        text = f"none of the {NAMES[other]} settings that were tried reaches {goal}; the nearest, {in_words(nearest)}, "
        return f"{lead}{text}stays at {distance(nearest['fd'])}. So there is no ratio to give."

    def compared(seconds: float) -> str:
        return times(target[TIME], seconds) if model == "var" else times(seconds, target[TIME])

    slow = cost.row[TIME]
    text = (
        f"the fastest {NAMES[other]} setting that reaches {goal} is {in_words(cost.row)} with "
        f"{distance(cost.row['fd'])} in {significant(slow)} s, against {significant(target[TIME])} s: {compared(slow)}"
    )
    if cost.seconds < 0.99 * slow:
        text += f" (interpolated between the settings, to just that distance: {compared(cost.seconds)})"
    return f"{lead}{text}{_noise_of_ratio(report, target)}."


def _noise_of_ratio(report: Report, target: Row) -> str:
    """What the noise of the distances makes of the ratio; nothing where several generation seeds were not drawn."""
    other = _OTHER[target["model"]]
    mine, theirs = report.relative_deviation(target["model"]), report.relative_deviation(other)
    if mine is None or theirs is None:
        return ""
    found = speed_ratio(target, report.rows(other), deviations=(mine, theirs))
    assert found is not None  # the caller found the distance reached
    # As the sentence puts it: how many times as fast the faster one is.
    low, high = (found.low, found.high) if found.ratio >= 1 else (1 / found.high, 1 / found.low)
    text = f"; the noise of the samples leaves a ratio from {factor(low)} to {factor(high)} (16-84 %)"
    missed = 1 - found.reached
    return text + (f", and in {missed:.0%} of the draws none" if missed > 0.005 else "")


def _within_time_of(report: Report, row: Row, lead: str) -> str:
    """What the other model gives in the time that `row` takes."""
    name, other = NAMES[row["model"]], _OTHER[row["model"]]
    seconds, best = significant(row[TIME]), equal_time(report.rows(other), row[TIME])
    if best is None:
        fastest = significant(min(each[TIME] for each in report.rows(other)))
        nothing = f"no {NAMES[other]} setting that was tried is as fast as {name} ({seconds} s)"
        return f"{lead}{nothing}; the fastest takes {fastest} s."
    return f"{lead}within {name}'s {seconds} s, {NAMES[other]}'s best is {in_words(best)} with {distance(best['fd'])}."


def _front(report: Report, model: str) -> str:
    """The settings of a model that no other setting of it beats on both time and distance."""
    rows = report.rows(model)
    best = front(rows)
    points = [f"{in_words(row)} {distance(row['fd'])} in {significant(row[TIME])} s" for row in best]
    return f"Front of {NAMES[model]}, {len(best)} of {len(rows)} settings: {listed(points)}."
