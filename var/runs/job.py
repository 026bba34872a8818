"""A kind of training: what is particular to a model, and what all kinds share."""

import argparse
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from torch import nn

from var.command_line.run_options import assignments
from var.data.apart import check_apart
from var.data.bad_images import SkipBadImages
from var.data.base import ConditionSize, ImageData, condition_size, notes_of
from var.data.catalog import open_data, places_of
from var.data.texts import check_captions, with_texts
from var.devices import chosen_device
from var.errors import UserError
from var.hub.cards import ModelCard, licence_id
from var.hub.layout import RUN_FILE
from var.quantities import count
from var.runs.evaluation import Evaluation, data_name
from var.runs.folder import RunFolder
from var.runs.held_out import held_out
from var.runs.overrides import overridden
from var.runs.plan import Plan
from var.runs.session import Session
from var.runs.settings import DataSettings, RunSettings
from var.terms import Terms
from var.text import TextEncoder, open_encoder
from var.training import Task
from var.training.optimization import optimizer_flops
from var.version import __version__

Settings = TypeVar("Settings", bound=RunSettings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What the loop needs."""

    task: Task
    data: ImageData  # of the batches
    vary: bool = True  # whether the batches are augmented; tokens of a cache are already
    evaluation: Evaluation


@dataclass(frozen=True, kw_only=True)
class Job(ABC, Generic[Settings]):
    """One kind of training, on `data`; `init` is what the user called the weights to start from, if any.

    Where the settings name an `encoder`, it reads the captions of the data.
    """

    kind: ClassVar[str]  # a word for messages and for the run's file
    adds_parameters: ClassVar[bool] = True  # to those of the models that it starts from
    shares: ClassVar[tuple[str, ...]] = ()  # the numbers of its evaluations that are told in percent
    settings: Settings
    data: ImageData
    init: str | None = None
    encoder: TextEncoder | None = None

    @cached_property
    def judged(self) -> ImageData:
        """The images that evaluations judge by: held out if the source has such, else the training images."""
        if not self.settings.evaluation.every or not self.settings.data.source:
            return self.data
        on_bad_image = "skip" if isinstance(self.data, SkipBadImages) else "error"
        return held_out(self.settings.data.source, self.data, on_bad_image, captions=self.encoder is not None)

    @property
    def shown(self) -> ConditionSize:
        """What the model is told."""
        return shown_size(self.data, self.settings.data, self.encoder)

    @property
    def shown_classes(self) -> tuple[str, ...]:
        """The names of the classes that the model is told of: those of the data, or none where they are not shown."""
        return tuple(self.data.classes) if self.shown.num_classes else ()

    def with_texts(self, session: Session) -> tuple[ImageData, ImageData]:
        """The images that are trained on and those that are judged, which show their captions if the settings say so.

        Their vectors are kept in the run's folder; every process calls this.
        """
        if self.encoder is None:
            return self.data, self.judged
        processes = session.processes
        shown = self.settings.data
        how = {"labels": shown.class_labels, "sequences": shown.text_sequence, "folder": session.folder.path / "texts"}
        how |= {"progress": session.progress, "rank": processes.rank, "world_size": processes.count}
        how |= {"wait": processes.accelerator.wait_for_everyone}
        data = with_texts(self.data, self.encoder, **how)
        return data, data if self.judged is self.data else with_texts(self.judged, self.encoder, **how)

    def remarks(self) -> tuple[str, ...]:
        """Lines about the data: what is left out of them, what reads their captions, and which images are judged."""
        notes = notes_of(self.data)
        if self.encoder is not None:
            beside = "beside" if self.shown.num_classes else "without"
            pieces = f", sequences of width {width}" if (width := self.shown.sequence_width) else ""
            read = f"captions are read by {self.encoder.name} (vectors of width {self.encoder.width}{pieces})"
            notes = *notes, f"{read}, shown {beside} the class"
        if not self.settings.evaluation.every:
            return notes
        if self.judged is self.data:
            return *notes, "evaluated on training images: the data have no split 'val' or 'test'"
        images = count(len(self.judged), "image")
        return *notes, *notes_of(self.judged), f"evaluated on {images} of the held-out split, which are not trained on"

    def facts(self) -> dict[str, Any]:
        """What must agree when the run goes on, besides settings and data; fit for JSON."""
        read = {} if self.encoder is None else {"text_encoder": self.encoder.digest}
        return {"init": self.init, **read}

    def card(self) -> ModelCard:
        """The page of what is trained: on what, on which terms, and how."""
        training, terms = self.settings.training, Terms.of(self.data)
        return ModelCard(
            license=licence_id(terms.licence),
            dataset=data_name(self.settings.data.source),
            data_licence=terms.licence,
            attribution=terms.attribution,
            description=f"Trained with next-scale {__version__} for {count(training.steps, 'step')} of "
            f"{count(training.batch_size, 'image')}, seed {training.seed}; `{RUN_FILE}` has all settings.",
        )

    def changed(self, **training: Any) -> Self:
        """The same, trained otherwise."""
        return replace(self, settings=replace(self.settings, training=replace(self.settings.training, **training)))

    def sparing(self) -> Self | None:
        """The same with recomputation, which takes time and spares memory; None where it is on, or is not offered."""
        if getattr(self.settings, "gradient_checkpointing", None) is not False:
            return None
        return replace(self, settings=replace(self.settings, gradient_checkpointing=True))

    @abstractmethod
    def plan(self, processes: int) -> Plan:
        """The run in numbers."""

    def planned(self, model: nn.Module, processes: int, **parts: Any) -> Plan:
        """The plan of training `model`, which is on the meta device; `parts` are those which all kinds do not share."""
        own = {"kind": self.kind, "settings": self.settings, "data": self.data, "processes": processes}
        return Plan(optimizer_flops=optimizer_flops(model, self.settings.training), **own, **parts)

    @abstractmethod
    def prepare(self, session: Session) -> Prepared:
        """Build the model and all that it is trained with; every process calls this."""

    @abstractmethod
    def save(self, task: Task, folder: Path) -> str:
        """Save what was trained into the run's folder; returns how to use it, in a line."""


def configured(run: Settings, arguments: argparse.Namespace) -> Settings:
    """`run` with the DATA, the files and the assignments of the command line."""
    given = assignments(arguments)
    run = overridden(run, files=arguments.files, assignments=given)
    if any(each.partition("=")[0].strip() == "data.source" for each in given) and run.data.source != arguments.data:
        raise UserError(
            f"the data are named by DATA, {arguments.data!r}, got data.source={run.data.source!r} too; leave one out"
        )
    return replace(run, data=replace(run.data, source=arguments.data))


def check_given(group: str, config: Any, wanted: Mapping[str, Any], owner: str = "the data") -> None:
    """Raise `UserError` unless the config, a `group` of the settings, says what its `owner` decides."""
    for name, value in wanted.items():
        if (found := getattr(config, name)) != value:
            raise UserError(f"{group}.{name} is given by {owner}, {value}, got {found}; leave it out")


def shown_size(data: ImageData, settings: DataSettings, encoder: TextEncoder | None) -> ConditionSize:
    """What a model of `data` is told."""
    if (encoder.name if encoder else "") != settings.text:
        found = repr(encoder.name) if encoder else "none"
        raise UserError(f"data.text is the encoder of the captions, {settings.text!r}, got {found}; pass that one")
    if encoder is None:
        return condition_size(data)
    if settings.text_sequence and not encoder.sequence_width:
        raise UserError(f"data.text_sequence needs sequences, got {encoder.name!r}, which has none; leave it out")
    classes = len(data.classes) if settings.class_labels else 0
    return ConditionSize(classes, encoder.width, encoder.sequence_width if settings.text_sequence else 0)


def open_text_encoder(arguments: argparse.Namespace, settings: DataSettings) -> TextEncoder | None:
    """The encoder that the settings name, if they do, on the device of the training."""
    if not settings.text:
        return None
    return open_encoder(settings.text, device=chosen_device(arguments.device), progress=not arguments.quiet)


def open_training_data(arguments: argparse.Namespace, shape: tuple[int, int, int], settings: DataSettings) -> ImageData:
    """The images that the command line names, of the `shape` (channels, height, width) that the model takes.

    They have captions if the `settings` name an encoder of texts.
    """
    channels, height, width = shape
    folder = RunFolder(arguments.output.expanduser())
    # Before the listing is written, which would be in the data, or in a folder that is refused.
    check_apart(folder.path, places_of(arguments.data))
    if not arguments.plan:
        folder.check_place()
    data = open_data(
        arguments.data,
        size=(height, width),
        channels=channels,
        on_bad_image=arguments.on_bad_image,
        captions=bool(settings.text),
        # A plan writes nothing.
        index=None if arguments.plan else folder.listing,
        progress=not arguments.quiet,
    )
    if settings.text:
        check_captions(data, arguments.data)
    return data
