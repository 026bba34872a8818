"""The run that is examined: its settings, its log, its data and its models, opened and never changed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from var.conditions import Condition
from var.data.base import ImageData, conditions_at, fingerprint
from var.data.catalog import open_data
from var.data.loading import load_images
from var.data.splits import MissingSplitError
from var.devices import chosen_device
from var.errors import UserError
from var.foreign.documents import taken
from var.foreign.logs import read_log
from var.hub.layout import CONFIG, PIPELINE_INDEX
from var.paths import expanded
from var.recipes.decoder.settings import DecoderRun
from var.recipes.fine_tuning import load_tokenizer
from var.recipes.transformer.settings import TransformerRun
from var.recipes.vqvae.settings import VQVAERun
from var.runs.evaluation import spread
from var.runs.folder import RunFolder
from var.runs.held_out import as_shown, usable_held_out
from var.runs.overrides import FACTS, read_settings, settings_from_dict
from var.scales import ScaleSchedule
from var.tokenizer import Tokenizer
from var.transformer import VAR

KINDS: dict[str, Any] = {"vqvae": VQVAERun, "transformer": TransformerRun, "decoder": DecoderRun}
"""The runs that are understood, by the word in their file."""

LOSSES = {"vqvae": "reconstruction", "transformer": "loss", "decoder": "reconstruction"}
"""What their logs call the loss that tells how much was learned; the whole one has parts that rise and fall."""

LOOKED_AT = 400
"""Images at most of each split: an accuracy of one token in two is then known to .025."""
BATCH = 50


@dataclass(frozen=True, slots=True)
class Sample:
    """Some images with what they show and their tokens."""

    images: Float[Tensor, "n c h w"]
    condition: Condition
    tokens: Int64[Tensor, "n length"]


@dataclass(frozen=True, kw_only=True)
class Patient:
    """A run. What is missing of it is None: the models of one that is not finished, images that are held out."""

    folder: RunFolder
    kind: str
    settings: Any  # a VQVAERun, a TransformerRun or a DecoderRun
    facts: Mapping[str, Any]  # what its file tells besides settings
    rows: tuple[dict[str, Any], ...]  # of the log, every one with its step
    device: str
    progress: bool
    overfit_steps: int
    given: Any = None  # data, or what they are called, in place of those that the settings name
    vqvae: str | None = None  # a tokenizer in place of the one in the folder
    measured: dict[str, Any] = field(default_factory=dict)  # filled by those who look

    @property
    def steps(self) -> int:
        """Steps that the log knows of."""
        return int(max(row["step"] for row in self.rows))

    @property
    def schedule(self) -> ScaleSchedule:
        """The scales that it was trained on; a decoder's are those of the transformer that drew its tokens."""
        if self.kind == "decoder":
            assert self.transformer is not None, "open_patient has looked"
            return self.transformer.config.schedule
        settings = self.settings
        return settings.vqvae.schedule if self.kind == "vqvae" else settings.transformer.schedule

    @property
    def loss_name(self) -> str:
        """What the log calls the loss that tells how much was learned."""
        return LOSSES[self.kind]

    @cached_property
    def data(self) -> ImageData:
        """The images that it was trained on, as they are now, and what they show."""
        return self._shown(self.images)

    @property
    def held_out(self) -> ImageData | None:
        """Images like `data` that it was not trained on, if there are such."""
        return None if isinstance(self.others, str) else self.others

    @cached_property
    def others(self) -> ImageData | str:
        """Those that are `held_out`, or why there are none."""
        source = self.settings.data.source if self.given is None else self.given
        if _is_data(source):
            return "data given in Python have none"
        try:
            return self._shown(usable_held_out(str(source), self.images, captions=bool(self.settings.data.text)))
        except MissingSplitError:
            return "the data have none"
        except UserError as error:
            return str(error)

    @cached_property
    def images(self) -> ImageData:
        """Those of `data` as they were read, without what the settings say that they show."""
        given, source = self.given, self.settings.data.source
        if given is None and not source:
            raise UserError(f"{self.folder.settings} names no data, which were given in Python; pass them as data")
        data: Any = given if _is_data(given) else self._opened(source if given is None else given)
        return data

    def _shown(self, data: ImageData) -> ImageData:
        return as_shown(data, self.settings.data, device=self.device, progress=self.progress)

    @property
    def same_data(self) -> bool:
        """Whether the data are still those of the training, as far as they are told."""
        told = self.facts.get("data", {}).get("fingerprint")
        return told is None or self.settings.data.text != "" or told == fingerprint(self.data)

    @cached_property
    def tokenizer(self) -> Tokenizer | None:
        """What makes images of its tokens; raises `UserError` for one that cannot be loaded, or is gone."""
        place: Path | str | None = self.vqvae
        if place is None:
            place = self.folder.path if self.kind == "vqvae" else self.folder.path / "vqvae"
            best = self.folder.checkpoints / "best"
            if self.kind == "vqvae" and not (place / CONFIG).exists() and (best / CONFIG).exists():
                place = best
            if not (place / CONFIG).exists():
                self._check_unfinished(place)
                return None
        return load_tokenizer(str(place), self.schedule.sides).to(self.device).eval()

    @cached_property
    def transformer(self) -> VAR | None:
        """The trained one, or the best so far; raises `UserError` for one that cannot be loaded, or is gone."""
        finished = (self.folder.path / PIPELINE_INDEX).exists()
        place = self.folder.path / "transformer" if finished else self.folder.checkpoints / "best"
        if self.kind == "vqvae":
            return None
        if not (place / CONFIG).exists():
            self._check_unfinished(place)
            return None
        return VAR.from_pretrained(place).to(self.device).eval()

    def _check_unfinished(self, place: Path) -> None:
        """Raise `UserError` where a run that is finished lacks what it saved at `place`."""
        if self.folder.finished.exists():
            raise UserError(
                f"a finished run has its models, but {place / CONFIG} is missing; restore it or train again"
            )

    @cached_property
    def trained_on(self) -> Sample | None:
        """Images of the training, with the tokens that the tokenizer gives them now."""
        return self._sample(self.data)

    @cached_property
    def unseen(self) -> Sample | None:
        """The same of held-out images."""
        return None if self.held_out is None else self._sample(self.held_out)

    def _opened(self, source: Any) -> ImageData:
        channels, *size = taken(self.facts["data"], "shape", list, self.folder.settings)
        how: dict[str, Any] = {"captions": bool(self.settings.data.text), "progress": self.progress}
        try:
            return open_data(source, size=(size[0], size[1]), channels=channels, **how)
        except UserError as error:
            raise UserError(f"{error}; --data names the images of the run where they are elsewhere now") from error

    def _sample(self, data: ImageData) -> Sample | None:
        if self.tokenizer is None:
            return None
        places = spread(len(data), LOOKED_AT)
        images = load_images(data, places)
        with torch.inference_mode():
            parts = [self.tokenizer.encode(part.to(self.device)) for part in images.split(BATCH)]
        tokens = torch.cat([self.schedule.flatten(part).cpu() for part in parts]).clone()
        return Sample(images, conditions_at(data, places), tokens)


def open_patient(run: Path | str, **given: Any) -> Patient:
    """The run in the folder `run`; raises `UserError` for what is no run, of another kind, or without a log."""
    folder = RunFolder(expanded(run))
    if not folder.settings.exists():
        raise UserError(
            f"RUN must be the folder of a run of `var train`, got {folder.path} without {folder.settings.name}; "
            "name its --output"
        )
    values = read_settings(folder.settings)
    facts = taken(values, FACTS, dict, folder.settings, remedy="restore it")
    kind = taken(facts, "kind", str, folder.settings, remedy="restore it")
    if kind not in KINDS:
        raise UserError(
            f"unknown kind of run {kind!r:.100} in {folder.path}: runs of `var train vqvae`, `transformer` and "
            f"`decoder` can be examined; of others look at {folder.log.name} and the pictures in {folder.samples.name}/"
        )
    saved = folder.path / PIPELINE_INDEX, folder.path / "transformer" / CONFIG
    if kind == "decoder" and (missing := [path.relative_to(folder.path) for path in saved if not path.exists()]):
        raise UserError(
            f"a decoder is examined with the transformer that drew its tokens, got {folder.path} without "
            f"{missing[0]}, which a run has at its end; run the same command again to finish it"
        )
    settings = KINDS[kind]
    del values[FACTS]
    if not folder.log.exists():
        raise UserError(f"a run is judged by its log, got {folder.path} without {folder.log.name}; train it first")
    rows = _rows(folder, LOSSES[kind])
    taken(facts, "data", dict, folder.settings, remedy="restore it")
    settings = settings_from_dict(settings, values, str(folder.settings))
    given["device"] = chosen_device(given.get("device"))
    return Patient(folder=folder, kind=kind, settings=settings, facts=facts, rows=rows, **given)


def _rows(folder: RunFolder, name: str) -> tuple[dict[str, Any], ...]:
    """The rows of the log with a step; raises `UserError` if none of them has the loss `name`."""
    rows = (row for row in read_log(folder.log) if "loss" in row or "warning" not in row)
    rows = (row for row in rows if not any(isinstance(row.get(each), str) for each in ("step", name)))
    rows = tuple(row for row in rows if "step" in row)
    if not any(name in row for row in rows):
        raise UserError(f"a run is judged by {name!r} in its log, got none in {folder.log}; train it further")
    return rows


def _is_data(value: Any) -> bool:
    return hasattr(value, "load") and hasattr(value, "labels")
