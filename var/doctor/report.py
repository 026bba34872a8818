"""What an examination found: findings in words, and the numbers that they rest on."""

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from var import quantities
from var.files import write_text

WIDTH = 100
"""Characters of a line of the text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that was found. A fault ruins what is trained; a remark is something to know, in a sound run too."""

    key: str  # the subject, such as "tokenizer"
    severity: Literal["fault", "remark"]
    said: str  # what is wrong
    measured: str  # the numbers that show it
    remedy: str  # what to do


class NothingThereError(Exception):
    """A subject of which a run has nothing to look at; says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The findings about a run, faults first, and what was measured, by subject."""

    run: str
    kind: str
    steps: int  # done
    findings: tuple[Finding, ...]
    looked_at: tuple[str, ...]  # the subjects that could be looked at
    left_out: Mapping[str, str]  # the other ones, and why
    measured: Mapping[str, Any]  # numbers and lists of them, fit for JSON

    @property
    def faults(self) -> tuple[Finding, ...]:
        """The findings that ruin what is trained."""
        return tuple(each for each in self.findings if each.severity == "fault")

    @property
    def sound(self) -> bool:
        """Whether there is no fault."""
        return not self.faults

    def to_json(self, path: Path | str) -> None:
        """Write all of it as JSON."""
        write_text(path, json.dumps({"sound": self.sound, **asdict(self)}, indent=2, allow_nan=False) + "\n")

    def text(self) -> str:
        """The findings in words, the numbers of every scale as a table, and the verdict."""
        parts = [f"{self.run}: {self.kind}, {quantities.count(self.steps, 'step')}", *map(_words, self.findings)]
        if rows := self.measured.get("scales"):
            parts.append(_table(rows))
        if told := self.measured.get("given_scales"):
            parts.append(_given(told))
        parts.append(f"looked at: {', '.join(self.looked_at)}")
        if self.left_out:
            parts.append(f"not looked at: {', '.join(f'{name} ({why})' for name, why in self.left_out.items())}")
        faults = quantities.count(len(self.faults), "fault")
        named = ", ".join(dict.fromkeys(each.key for each in self.faults))
        parts.append(f"{faults}: {named}" if self.faults else "no fault was found: the training is sound")
        return "\n\n".join(parts)


def _words(finding: Finding) -> str:
    lines = (f"{finding.said} ({finding.measured})", f"-> {finding.remedy}")
    filled = [textwrap.fill(line, WIDTH, initial_indent="  ", subsequent_indent="  ") for line in lines]
    return "\n".join([f"{finding.severity.upper()} {finding.key}", *filled])


def _given(told: Mapping[str, Any]) -> str:
    """What each map costs: a line for each number of true maps."""
    head = (
        f"{told['title']} of {told['images']:,} images of the training's classes, whose first maps are true and whose "
        f"others are drawn; of the images themselves it is {told['real']:.3f}. A map costs what drawing it adds."
    )
    return f"{textwrap.fill(head, WIDTH)}\n\n{_table(told['rows'], digits=3)}"


def _table(rows: Sequence[Mapping[str, Any]], digits: int = 2) -> str:
    """A line for each row, a column for each number that one of them has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [
        [name.replace("_", " ") for name in names],
        *([_cell(row.get(name), digits) for name in names] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def _cell(value: Any, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}" if isinstance(value, float) else str(value)
