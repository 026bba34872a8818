"""Which rows of a trained class embedding other classes take over."""

from collections.abc import Sequence


def kept_rows(before: Sequence[str] | None, after: Sequence[str], old: int) -> tuple[list[int], str]:
    """For each of the classes `after` and for the null label, the row to start from; and what that means, in words.

    A class keeps its row if a class of that name was there `before`; without names, all rows are kept if the number of
    classes, `old`, agrees. Every other class begins as the null label, whose row (`old`) is always kept: the model then
    does for it what it does without a class.
    """
    if before is None:
        rows = list(range(old)) if len(after) == old else [old] * len(after)
    else:
        places = {name: row for row, name in enumerate(before)}
        rows = [places.get(name, old) for name in after]
    if rows == list(range(old)):
        return [*rows, old], f"the class embedding is kept: {old} classes"
    known = sum(row != old for row in rows)
    return [*rows, old], (
        f"the class embedding is replaced: {old} classes before, {len(after)} now, {known} of them known by name; "
        "the others begin as the null label, which is kept"
    )
