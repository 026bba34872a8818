"""What a comparison measured: one row of scores a sampler setting, beside the controls that give them a meaning."""

import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from comparison.families import FAMILIES
from comparison.report.columns import MODELS, control_title, headings, score_columns, setting
from comparison.report.wording import training_time
from var.errors import UserError, suggestion
from var.evaluation import table
from var.evaluation.report.score_report import ScoreReport
from var.evaluation.report.text import WIDTH, aligned
from var.files import write_json
from var.foreign.documents import read_json
from var.quantities import quantity

COUNTS = ("steps", "parameters", "samples", "seed")
_NUMBERS = ("fd", "guidance_scale", "seconds_per_1000_images")
_COSTS = ("train_seconds",)  # None of models that were trained elsewhere
_SHARES = ("precision", "recall", "class_consistency")
# In every row, but these may be None: without labels there is no class to be consistent with, for example.
SCORES = ("kd", "inception_score", "sharpness", "diversity", *_SHARES, "nearest_train_distance")
_LIKELY = ("likelihood", "bits_per_dimension", "bits_error", "bits_estimate")  # of every family
_OPTIONAL = ("headline", "spread", "temperature", "top_k", "top_p", "eta", "nfe", "flops_per_image", "train_flops")
_OPTIONAL += ("timed_images", "spacing", "train_processes")
_ADDED = ("scores", "by_seed")  # older reports lack them
BY_SCALE = ("sides", "usage_by_scale", "perplexity_by_scale")
_TOKENIZER = ("psnr_test", "psnr_train", "reconstruction_fd", "codes_used", *BY_SCALE)


@dataclass(frozen=True)
class Report:
    """Everything a comparison found; written as `report.json`, and shown as a table or as a page.

    `settings["extractor"]` names the feature network, so that the distance is written FD-name. Raises `UserError` for
    a missing, unknown or ill-typed entry.
    """

    results: list[
        dict[str, Any]
    ]  # one row per sampler setting; one per model carries "headline": True, fixed beforehand
    controls: dict[str, dict[str, Any]]  # control -> scores, keys as in `results`; "fd" at least
    tokenizer: dict[str, Any]  # psnr_test and psnr_train in dB, codes_used in [0, 1], ...; {} where there is none
    environment: dict[str, Any]  # versions, machine, threads, seconds of each stage
    settings: dict[str, Any]  # what was fixed beforehand
    # Model -> its `ScoreReport` as a mapping: the headline setting over several generation seeds.
    scores: dict[str, dict[str, Any]] = field(default_factory=dict)
    # Of several training seeds the rows of each; `results` then holds their means, and deviations as "spread".
    by_seed: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, rows in (("results", self.results), ("by_seed", self.by_seed)):
            for index, row in enumerate(rows):
                _check_row(row, f"{name}[{index}]")
        sizes = {row["samples"] for row in self.results}
        if len(sizes) > 1:
            # A Frechet distance is biased by about 1/n, far more than models differ.
            raise UserError(f"all results need one number of samples, got {sorted(sizes)}; distances depend on it")
        for name, scores in self.controls.items():
            _check_number(scores.get("fd"), f"controls.{name}.fd")
            _check_scores(scores, f"controls.{name}")
        for key in _TOKENIZER:
            if self.tokenizer and key not in self.tokenizer:
                raise UserError(f"a report needs tokenizer.{key}, which is missing; add it")
        lengths = [len(self.tokenizer.get(key, ())) for key in BY_SCALE]
        if len(set(lengths)) != 1:
            raise UserError(
                f"tokenizer {', '.join(BY_SCALE)} need one entry per scale, got {lengths}; add the missing ones"
            )
        self.score_reports()
        extractor = self.settings.get("extractor")
        if not isinstance(extractor, str):
            raise UserError(f'settings.extractor must name the feature network, got {extractor!r}; set it, as "digits"')

    @property
    def distance_name(self) -> str:
        """FD-name: the Frechet distance in the features of the network that this report used."""
        return f"FD-{self.settings['extractor']}"

    def rows(self, model: str) -> list[dict[str, Any]]:
        """All rows of a model."""
        return [row for row in self.results if row["model"] == model]

    @property
    def models(self) -> list[str]:
        """The models that were compared, in the order of their table."""
        return [key for key in MODELS if self.rows(key)]

    @property
    def trained_elsewhere(self) -> bool:
        """Whether nothing was trained for the comparison, so that nothing is known of what the models learnt."""
        return all(row["train_seconds"] is None for row in self.results)

    def headlines(self) -> dict[str, dict[str, Any]]:
        """The headline row of each model."""
        return {model: self.headline(model) for model in self.models}

    def headline(self, model: str) -> dict[str, Any]:
        """The row of `model` whose settings were fixed beforehand; raises `UserError` unless exactly one is flagged."""
        flagged = [row for row in self.rows(model) if row.get("headline")]
        if len(flagged) != 1:
            raise UserError(
                f'one row of model {model!r} must carry "headline": true, got {len(flagged)}; flag just one'
            )
        return flagged[0]

    def score_reports(self) -> list[ScoreReport]:
        """The reports of scores over generation seeds, one per model; raises `UserError` for one that is not whole."""
        return [ScoreReport.from_dict(content, f"scores of {name}") for name, content in self.scores.items()]

    def relative_deviation(self, model: str) -> float | None:
        """Standard deviation of a model's distance over generation seeds, over the mean; None of fewer than two."""
        if model not in self.scores:
            return None
        spread = ScoreReport.from_dict(self.scores[model], f"scores of {model}").spread("fd")
        if spread is None or spread.deviation is None:
            return None
        return spread.deviation / spread.mean if spread.mean > 0 else 0.0

    def labelled_rows(self) -> list[tuple[str, dict[str, Any]]]:
        """The results table, row by row, with labels: the headline rows, then the controls."""
        heads = [(setting(row), row) for row in self.results if row.get("headline")]
        return heads + [(control_title(name), scores) for name, scores in self.controls.items()]

    def to_json(self, path: Path | str) -> None:
        """Write the report whole or not at all; raises `UserError` for NaN, infinity or what JSON cannot hold."""
        content = asdict(self)
        _check_json(content, "")
        write_json(path, content)

    @classmethod
    def from_json(cls, path: Path | str) -> "Report":
        """Read a report; raises `UserError` naming the file if an entry is missing, unknown or ill-typed."""
        content = read_json(Path(path))
        try:
            parts = [one.name for one in fields(cls)]
            _check_keys(content, [name for name in parts if name not in _ADDED], "the report", optional=_ADDED)
            for name, value in content.items():
                _check_shape(name, value)
            return cls(**content)
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def table(self) -> str:
        """The headline rows and the controls as plain text of at most 100 columns."""
        heads = headings(self.distance_name)
        rows = self.labelled_rows()
        measured = {key for _, row in rows for key, value in row.items() if value is not None}
        known = [column for column in score_columns(self.distance_name) if column.key in heads]
        # Reports of before have no ratio.
        columns = [column for column in known if column.key in measured or not column.key.endswith("_ratio")]
        header = [["", *(heads[column.key][line] for column in columns)] for line in (0, 1)]
        body = [[label[:20], *(column.cell(row.get(column.key)) for column in columns)] for label, row in rows]
        lines = aligned(header + body)
        rule = "-" * max(len(line) for line in lines)
        split = 2 + sum("model" in row for _, row in rows)
        lines = [*lines[:2], rule, *lines[2:split], rule, *lines[split:]]
        return "\n".join([*lines, "", *textwrap.wrap(self._footnote(), WIDTH)])

    def _footnote(self) -> str:
        name = self.settings["extractor"]
        notes = [f"{self.distance_name}, KD: Frechet and kernel distance in the features of the network {name!r}."]
        notes.append("g: guidance scale, 1 is off.")
        for row in self.results:
            if row.get("headline"):
                trained = f", trained in {time}" if (time := training_time(row)) else ""
                notes.append(f"{MODELS[row['model']]}: {quantity(row['parameters'])} parameters{trained}.")
        if "bits_per_image" in self.tokenizer:
            bits, tokens, codes = (self.tokenizer[key] for key in ("bits_per_image", "tokens", "vocabulary"))
            notes.append(f"An image is {tokens} tokens of {codes} codes, {bits:.0f} bits.")
        if any("spread" in row for row in self.results):
            notes.append(f"Means over {len(self.settings['seeds'])} training seeds; the page has their deviations too.")
        if chosen_on := self.settings.get("chosen_on"):
            notes.append(f"Guidance and steps were chosen on {chosen_on}.")
        return " ".join(notes)


def _check_row(row: Mapping[str, Any], where: str) -> None:
    scores = [score.key for score in table.TABLE]
    _check_keys(
        row, ("model", "sampler", *COUNTS, *_NUMBERS, *_COSTS, *SCORES), where, optional=(*_OPTIONAL, *_LIKELY, *scores)
    )
    samplers = [sampler for contender in FAMILIES.values() for sampler in contender.samplers]
    for key, known in (("model", MODELS), ("sampler", samplers)):
        if row[key] not in known:
            raise UserError(f"{where}.{key}: unknown {row[key]!r}; {suggestion(str(row[key]), known)}")
    if not str(row.get("spacing", "usual")).isidentifier():
        raise UserError(f"{where}.spacing must be one word, got {row['spacing']!r:.100}; correct it")
    for key in COUNTS:
        if type(row[key]) is not int:
            raise UserError(f"{where}.{key} must be an integer, got {row[key]!r}; count it")
    for key in (*_NUMBERS, *(key for key in _COSTS if row[key] is not None)):
        _check_number(row[key], f"{where}.{key}")
    _check_scores(row, where)
    if row["seconds_per_1000_images"] <= 0:
        seconds = row["seconds_per_1000_images"]
        raise UserError(f"{where}.seconds_per_1000_images must be positive, got {seconds}; time the sampler")


def _check_scores(scores: Mapping[str, Any], where: str) -> None:
    for key in (score.key for score in table.TABLE):
        if scores.get(key) is not None:
            _check_number(scores[key], f"{where}.{key}")
            if key in _SHARES and not 0 <= scores[key] <= 1:
                raise UserError(
                    f"{where}.{key} is a share in [0, 1], got {scores[key]}; divide by the number of images"
                )


def _check_keys(given: Mapping[str, Any], known: Iterable[str], where: str, optional: Iterable[str] = ()) -> None:
    known = list(known)
    allowed = {*known, *optional}
    for key in given:
        if key not in allowed:
            raise UserError(f"{where}: unknown key {key!r}; {suggestion(key, allowed)}")
    for key in known:
        if key not in given:
            raise UserError(f"{where}: key {key!r} is missing; add it")


def _check_shape(name: str, value: Any) -> None:
    """What the types of `Report` say, for content that comes from a file."""
    kind, expected = (list, "a list of objects") if name in ("results", "by_seed") else (dict, "an object")
    parts = value.values() if name == "controls" and isinstance(value, dict) else value if kind is list else ()
    if not isinstance(value, kind) or not all(isinstance(row, dict) for row in parts):
        raise UserError(f"{name} must be {expected}, got {type(value).__name__}; write the report with to_json")


def _check_number(value: Any, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UserError(f"{where} must be a finite number, got {value!r}; look at how it was measured")


def _check_json(value: Any, where: str) -> None:
    if isinstance(value, dict | list | tuple):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            _check_json(item, f"{where}.{key}".lstrip(".") if isinstance(value, dict) else f"{where}[{key}]")
    elif isinstance(value, float):
        _check_number(value, where)
    elif not (value is None or isinstance(value, str | int)):
        raise UserError(
            f"{where} must be a number, a text, a list or a mapping, got {type(value).__name__}; convert it"
        )
