"""The report on one model: every score with its spread over generation seeds, and what it must be read against."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from var.errors import UserError, suggestion
from var.files import write_json
from var.foreign.documents import read_json, taken

KIND = "next-scale scores"
"""What tells a file of scores from other JSON."""


LONGEST_NAME = 200
"""Characters of the name of a model."""


def check_name(name: object) -> None:
    """Raise `UserError`, before any work, for what no report can call a model; None leaves it to the samples."""
    if name is None:
        return
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME:
        found = f"{len(name)} characters" if isinstance(name, str) and name.strip() else repr(name)
        raise UserError(
            f"the name of a model must be a text of 1 to {LONGEST_NAME} characters, got {found}; choose another"
        )


@dataclass(frozen=True, slots=True)
class Spread:
    """One score over sets that were drawn with different seeds."""

    values: tuple[float, ...]  # of at least one set

    @property
    def mean(self) -> float:
        """Mean over the sets."""
        return fmean(self.values)

    @property
    def deviation(self) -> float | None:
        """Standard deviation (divisor n - 1); None of one set."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def minimum(self) -> float:
        """The smallest, which some papers report."""
        return min(self.values)


@dataclass(frozen=True, kw_only=True)
class ScoreReport:
    """All scores of one model on one reference; written as JSON, and shown by `text`, `markdown` and `html`.

    `scores` maps a field of `Scores` to a value for each set; a set is one generation seed. Raises `UserError` for
    lists that do not match, numbers that are none, and names that are unknown.
    """

    name: str  # of the model
    distance: str  # FID, or FD-name
    sets: list[dict[str, Any]]  # path, samples, seed, fingerprint of each
    scores: dict[str, list[float]]
    extractor: dict[str, Any]  # name, digest
    classifier: dict[str, Any] | None = None  # name and digest of who told the classes, where the extractor did not
    reference: dict[str, Any]  # file, SHA-256, count, provenance
    floor: dict[str, Any] | None = None  # what two halves of the real images score, see `judging.floor`
    protocol: dict[str, Any] | None = None
    rejection: dict[str, Any] | None = None  # share, samples and scores of the samples that were kept: another model's
    warnings: list[str] = field(default_factory=list)
    terms: list[str] = field(default_factory=list)  # licence and attribution of the images, a sentence for each set
    environment: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sets:
            raise UserError("a report needs the scores of at least one set, got none; judge some samples")
        kept = [] if self.rejection is None else [(f"rejection.{k}", v) for k, v in self.rejection["scores"].items()]
        for key, values in [*self.scores.items(), *kept]:
            if len(values) != len(self.sets):
                raise UserError(f"{key} needs a value for each of {len(self.sets)} sets, got {len(values)}; match them")
            for value in values:
                if not _is_number(value):
                    raise UserError(f"{key} must be finite numbers, got {value!r}; look at how it was measured")
        if "fd" not in self.scores:
            raise UserError(f"a report needs the distance 'fd', got {sorted(self.scores)}; add it")

    def spread(self, key: str) -> Spread | None:
        """The score `key` over the sets; None if it was not measured."""
        values = self.scores.get(key)
        return None if values is None else Spread(tuple(values))

    @property
    def samples(self) -> int:
        """Images of each set; of the smallest where they differ."""
        return min(one["samples"] for one in self.sets)

    def to_dict(self) -> dict[str, Any]:
        """Everything, fit for JSON; no terms where none are known, as reports of before have it."""
        told = asdict(self)
        return {"kind": KIND, **(told if self.terms else {name: told[name] for name in told if name != "terms"})}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], source: Path | str = "the report") -> "ScoreReport":
        """The report in `content`; raises `UserError`, which names `source`, for a missing or unknown entry."""
        values = {key: value for key, value in content.items() if key != "kind"}
        known = [one.name for one in fields(cls)]
        for key in values:
            if key not in known:
                raise UserError(f"{source}: unknown entry {key!r}; {suggestion(key, known)}")
        _check_form(values, source)
        try:
            return cls(**values)
        except TypeError as error:
            raise UserError(f"{source} must be a whole report of scores, but: {error}; write it again") from error
        except UserError as error:
            raise UserError(f"{source}: {error}") from error

    def to_json(self, path: Path | str) -> None:
        """Write the report whole or not at all."""
        write_json(path, self.to_dict())

    @classmethod
    def from_json(cls, path: Path | str) -> "ScoreReport":
        """Read a report; raises `UserError`, naming the file, if it is none."""
        reports = read_reports(path)
        if len(reports) != 1:
            raise UserError(f"{path} must hold the scores of one model, got {sorted(reports)}; pick one")
        return next(iter(reports.values()))


def read_reports(path: Path | str) -> dict[str, ScoreReport]:
    """The reports of scores in a JSON file, by model: one in `scores.json`, two in `report.json` of a comparison.

    Raises `UserError` for a file that is missing, is not JSON, or holds no reports of scores.
    """
    content = read_json(Path(path))
    if content.get("kind") == KIND:
        report = ScoreReport.from_dict(content, path)
        return {report.name: report}
    found = content.get("scores")
    if not isinstance(found, dict) or not found:
        raise UserError(
            f"{path} must hold scores, as `var evaluate --output` writes them; give scores.json or report.json"
        )
    return {name: ScoreReport.from_dict(taken(found, name, dict, path), f"{path} ({name})") for name in found}


_FORM: dict[str, Any] = {
    **dict.fromkeys(("name", "distance"), str),
    **dict.fromkeys(("scores", "extractor", "reference", "environment"), dict),
    **dict.fromkeys(("classifier", "floor", "protocol", "rejection"), dict | None),
    **dict.fromkeys(("sets", "warnings", "terms"), list),
}
_INSIDE: dict[str, dict[str, Any]] = {
    "extractor": {"name": str, "digest": str},
    "classifier": {"name": str, "digest": str},
    "floor": {"samples": int, "fd": float, "at_samples": float},
    "protocol": {"name": str, "sampling": dict, "per_class": int},
    "rejection": {"share": float, "samples": list, "scores": dict},
}
"""The types of what a report says, as far as it is shown."""


def _check_form(values: Mapping[str, Any], source: Path | str) -> None:
    """Raise `UserError` for entries of other types, which somebody else has written."""
    remedy = "write the report again"
    for name, kind in _FORM.items():
        if name in values:
            taken(values, name, kind, source, remedy=remedy)
    for name, inside in _INSIDE.items():
        for key, kind in inside.items() if values.get(name) is not None else ():
            taken(values[name], key, kind, f"{source}, {name}", remedy=remedy)
    scores = [values.get("scores", {}), (values.get("rejection") or {}).get("scores", {})]
    for table in scores:
        for key in table:
            taken(table, key, list, f"{source}, scores", remedy=remedy)
    numbered = {f"set {place}": one for place, one in enumerate(values.get("sets", []))}
    for place in numbered:
        taken(taken(numbered, place, dict, source, remedy=remedy), "samples", int, f"{source}, {place}", remedy=remedy)
    for name in ("warnings", "terms"):
        for place, said in enumerate(values.get(name, [])):
            if not isinstance(said, str):
                raise UserError(f"{source}: {name}, {place} must be a text, got {said!r}; {remedy}")
    if "versions" in values.get("environment", {}):
        taken(values["environment"], "versions", dict, f"{source}, environment", remedy=remedy)


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number that is no float
        return False


def values_of(all_scores: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """A list for each score that was measured of all sets, from the fields of their `Scores`."""
    first = all_scores[0]
    keys = [key for key in first if key != "samples" and all(one[key] is not None for one in all_scores)]
    return {key: [one[key] for one in all_scores] for key in keys}
