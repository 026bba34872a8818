"""Reports of scores as text and as Markdown; both say the same."""

import textwrap
from collections.abc import Callable, Iterable, Sequence

from var.evaluation.report.score_report import ScoreReport, Spread
from var.evaluation.table import Score, titled
from var.names import MOST_SHOWN, escaped, in_markdown, shown

WIDTH = 100
LONGEST = 2000
"""Characters of a caution, which may name several files."""
DISTANCE_WIDTH = 40
"""Characters of the name of a distance, in which that of a network stands."""


def score_table(reports: Sequence[ScoreReport], name: Callable[[object], str] = shown) -> list[list[str]]:
    """Rows of cells, a heading first: each score that some report has, with mean, deviation and minimum of each.

    `name` brings what others have named into the form in which it is shown.
    """
    rows = [["", *(part for report in reports for part in (name(short(report.name)), "sd", "min"))]]
    for score in titled(name(short(reports[0].distance, DISTANCE_WIDTH))):
        spreads = [report.spread(score.key) for report in reports]
        if any(spread is not None for spread in spreads):
            title = score.title + (f" ({score.better})" if score.better else "")
            rows.append([title, *(cell for spread in spreads for cell in cells(score, spread))])
    rows += _context(reports)
    return rows


def cells(score: Score, spread: Spread | None) -> tuple[str, str, str]:
    """Mean, deviation and minimum; "-" for what is not known."""
    if spread is None:
        return "-", "-", "-"
    return score.show(spread.mean), score.cell(spread.deviation), score.show(spread.minimum)


def text(reports: Sequence[ScoreReport]) -> str:
    """Plain text of at most 100 columns for one or two models."""
    rows = score_table(reports)
    lines = aligned(rows)
    rule = "-" * max(map(len, lines))
    return "\n".join([lines[0], rule, *lines[1:], rule, *wrapped(notes_on(reports))])


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, the first column to the left, the others to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  ".join(cell.rjust(width) if place else cell.ljust(width) for place, (cell, width) in enumerate(pairs))
        for pairs in (zip(row, widths, strict=True) for row in rows)
    ]


def wrapped(notes: Iterable[str]) -> list[str]:
    """Lines of at most 100 columns, a note after the other."""
    return [line for note in notes for line in textwrap.wrap(note, WIDTH, subsequent_indent="  ")]


def markdown(reports: Sequence[ScoreReport]) -> str:
    """A table and the notes under it."""
    title = " and ".join(in_markdown(report.name) for report in reports)
    return f"# Scores of {title}\n\n{markdown_section(score_table(reports, in_markdown), notes_on(reports))}\n"


def markdown_section(rows: Sequence[Sequence[str]], notes: Iterable[str]) -> str:
    """Rows of cells, a heading first, as a table, and the notes as a list; the cells' names are `in_markdown`."""
    cells = [[cell.strip() for cell in row] for row in rows]
    rule = ["---", *["---:"] * (len(cells[0]) - 1)]
    lines = [f"| {' | '.join(row)} |" for row in (cells[0], rule, *cells[1:])]
    return "\n".join([*lines, "", *(f"- {_prose(note)}" for note in notes)])


def _prose(note: str) -> str:
    """A sentence, which may hold names of others, in Markdown: no part of it is markup."""
    # In pieces, because a name is cut where it is too long, and a note is not.
    pieces = (in_markdown(note[start : start + MOST_SHOWN]) for start in range(0, len(note), MOST_SHOWN))
    return "".join(pieces).replace("&lt; ", "< ")  # "n < 10": no tag begins with a space


def notes_on(reports: Sequence[ScoreReport]) -> list[str]:
    """Protocol, floor, cautions, terms, origin and the like; what is not true of all models begins with its name."""
    found = [(report.name, [escaped(note) for note in _notes(report)]) for report in reports]
    shared = [note for note in found[0][1] if all(note in notes for _, notes in found)]
    own = [f"{shown(name)}: {note}" for name, notes in found for note in notes if note not in shared]
    return own + shared


def _notes(report: ScoreReport) -> list[str]:
    notes = []
    if report.protocol is not None:
        drawn = {**report.protocol["sampling"], "rounding": report.protocol.get("rounding")}
        parts = {shown(key): shown(value) for key, value in drawn.items() if key != "rounding" or value}
        sampling = ", ".join(f"{key} {value}" for key, value in parts.items())
        name, per_class = shown(report.protocol["name"]), report.protocol["per_class"]
        notes.append(f"Protocol {name}: {sampling}; {per_class} images per class.")
    if report.floor is not None:
        size, apart, at = (report.floor[key] for key in ("samples", "fd", "at_samples"))
        notes.append(
            f"Floor: two disjoint sets of {size} real images are {apart:.3f} apart, so {report.samples} real ones "
            f"would score about {at:.3f} here; no generator can be told from real data below that."
        )
    if report.rejection is not None:
        scores = report.rejection["scores"]
        rows = [(row, Spread(tuple(scores[row.key]))) for row in titled(report.distance) if row.key in scores]
        kept = ", ".join(f"{row.title.strip()} {row.show(spread.mean)}" for row, spread in rows)
        notes.append(
            f"Rejection sampling, reported apart: the surest {report.rejection['share']:.0%} of each class, "
            f"{report.rejection['samples'][0]} images: {kept}."
        )
    notes += [f"Caution. {shown(caution, LONGEST)}" for caution in report.warnings]
    notes += [shown(terms, LONGEST) for terms in report.terms]
    judge = f"{shown(report.extractor['name'])} {report.extractor['digest'][:12]}"
    if report.classifier is not None:
        judge += f" (classes by {shown(report.classifier['name'])} {report.classifier['digest'][:12]})"
    reference = (
        f"{shown(report.reference.get('path', 'real images'))} {str(report.reference.get('digest', ''))[:12]}".strip()
    )
    notes.append(f"Judged by {judge} against {reference}, {_versions(report)}.")
    return notes


def _versions(report: ScoreReport) -> str:
    found = report.environment.get("versions", {})
    return (
        "with " + ", ".join(f"{shown(name)} {shown(found[name])}" for name in sorted(found))
        if found
        else "versions unknown"
    )


def _context(reports: Sequence[ScoreReport]) -> list[list[str]]:
    floors = ["-" if report.floor is None else f"{report.floor['at_samples']:.3f}" for report in reports]
    counts, seeds = [str(report.samples) for report in reports], [str(len(report.sets)) for report in reports]
    named = {"floor: real images at n": floors, "n": counts, "generation seeds": seeds}
    return [[name, *(cell for value in values for cell in (value, "-", "-"))] for name, values in named.items()]


def short(name: str, most: int = 18) -> str:
    """A name as it fits over a column."""
    return name if len(name) <= most else f"{name[: most - 1]}~"
