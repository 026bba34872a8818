"""Models that are trained already: found in their folders, and held to the data that they are compared on."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from comparison.contenders import CONTENDERS, Contender
from comparison.data import DataSet
from comparison.settings import Comparison, judged
from var.data import open_data
from var.data.base import ImageData
from var.data.named import is_named
from var.errors import UserError, listed
from var.foreign.documents import read_json
from var.hub.layout import PIPELINE_INDEX, RUN_FILE
from var.hub.packaged import packaged_models
from var.paths import expanded
from var.recipes.decoder.job import DecoderJob
from var.runs.overrides import FACTS, read_settings, settings_from_dict


def comparison_of(runs: Sequence[str], reference: str | None, *, validated: bool = False) -> Comparison:
    """The comparison of trained models, one of a family, judged by the data `reference`.

    A model that comes along, "next-scale/NAME", stands for those of both packages, but for one of whose family another
    is named. Raises `UserError` for folders that hold no pipeline, for two of one family, and for models whose images
    or classes are not those of the data.
    """
    if reference is None:
        raise UserError(
            f"trained models are judged by real images, got none for {listed(runs, 3)}; add --reference DATA"
        )
    found: dict[str, tuple[str, Any, Any]] = {}
    for source in _folders(runs):
        contender = family_of(source)
        if contender.key in found:
            raise UserError(
                f"one model of each family can be compared, got {found[contender.key][0]} and {source}, both "
                f"{contender.title}; leave one out"
            )
        found[contender.key] = (source, *load_trained(contender, source))
    found = {key: found[key] for key in CONTENDERS if key in found}
    shapes = {source: CONTENDERS[key].image_shape(pipeline) for key, (source, pipeline, _) in found.items()}
    if len(set(shapes.values())) > 1:
        told = " and ".join(f"{shape} of {source}" for source, shape in shapes.items())
        raise UserError(f"models must make images of one shape (channels, height, width), got {told}; leave one out")
    channels, height, width = next(iter(shapes.values()))
    own = is_named(reference)
    data = DataSet(
        source=reference,
        size=(height, width),
        channels=None if own else channels,
        validated=validated,
        trained_on=False,
        captions=any(reads_prompts(pipeline) for _, pipeline, _ in found.values()),
    )
    train = _training_images(data, (channels, height, width))
    for key, (source, pipeline, _) in found.items():
        if not reads_prompts(pipeline) or getattr(pipeline, CONTENDERS[key].network).config.num_classes:
            labels_of(CONTENDERS[key], pipeline, train, source)
    models = {
        key: replace(CONTENDERS[key].plan_of(pipeline, run), trained=source, terms=pipeline.terms)
        for key, (source, pipeline, run) in found.items()
    }
    return judged(data, models, equal="nothing: the models were trained elsewhere")


def _folders(runs: Sequence[str]) -> list[str]:
    """The folders of the runs, and those in which the packages have the models that are named."""
    packages = dict.fromkeys(each.pipeline.package for each in CONTENDERS.values())  # pyright: ignore[reportAttributeAccessIssue]
    along: dict[str, list[str]] = {}
    for named in runs:
        here = expanded(named).exists()
        twins = [] if here else [models.get(named) for models in map(packaged_models, packages)]
        along[named] = [str(folder) for folder in twins if folder]
    others = {family_of(named).key for named in runs if not along[named]}

    def meant(twins: list[str]) -> list[str]:
        return [each for each in twins if family_of(each).key not in others] or twins

    return [folder for named in runs for folder in meant(along[named]) or [named]]


def _training_images(data: DataSet, shape: tuple[int, int, int]) -> ImageData:
    """Those of the reference; raises `UserError` where they are not of the `shape` of the models' images."""
    reference, (channels, height, width) = data.source, shape
    try:
        train = data.part("train")
    except UserError as error:
        if not is_named(reference):  # others have any size
            raise
        _, high, wide = open_data(reference, split="train").shape
        if (high, wide) == (height, width):
            raise
        raise UserError(
            f"the reference must have images of the models' {height}x{width} pixels, got {high}x{wide} in "
            f"{reference}; name other data"
        ) from error
    if train.shape[0] != channels:
        raise UserError(
            f"the reference must have the channels of the models, {channels}, got {train.shape[0]} in {reference}; "
            "name other data"
        )
    return train


def family_of(source: str) -> Contender:
    """The family of the pipeline in a folder; raises `UserError` where there is none."""
    index = expanded(source) / PIPELINE_INDEX
    if not index.is_file():
        raise UserError(
            f"--runs must name folders of trained models, as `var train` leaves them, got {source!r} without "
            f"{PIPELINE_INDEX}; name the run of a generator that is finished, the folder of a saved pipeline, or a "
            f"model that comes along, {listed([*packaged_models()], 5)}"
        )
    name = read_json(index).get("class")
    for contender in CONTENDERS.values():
        if contender.pipeline.__name__ == name:
            return contender
    known = listed([each.pipeline.__name__ for each in CONTENDERS.values()], 5)
    raise UserError(f"{index} must be of a model that can be compared, {known}, got {name!r}; name another")


def load_trained(contender: Contender, source: str) -> tuple[Any, Any]:
    """The pipeline in a folder, and the settings of its run, None for one that is only a pipeline.

    Of a run that kept its best weights, the network has those. The run of a decoder, whose network was trained before,
    is taken as a pipeline, which tells how it is sampled.
    """
    folder = expanded(source)
    pipeline = contender.pipeline.from_pretrained(folder)  # pyright: ignore[reportAttributeAccessIssue]
    best, settings = folder / "checkpoints" / "best", folder / RUN_FILE
    network = getattr(pipeline, contender.network)
    values = read_settings(settings) if settings.is_file() else {}
    if values.get(FACTS, {}).get("kind") == DecoderJob.kind:
        return pipeline, None
    if best.is_dir():
        network.load_state_dict(type(network).from_pretrained(best).state_dict())
    if not values:
        return pipeline, None
    values.pop(FACTS, None)
    return pipeline, settings_from_dict(contender.run, values, str(settings))


def reads_prompts(pipeline: Any) -> bool:
    """Whether a pipeline was trained on texts."""
    return "text_encoder" in pipeline.settings()


def labels_of(contender: Contender, pipeline: Any, data: ImageData, source: str) -> Int64[Tensor, " classes"]:
    """What the model calls each class of the data: found by name where both name them, else by number.

    Raises `UserError` for other classes, or another number of them.
    """
    wanted, count = tuple(data.classes), getattr(pipeline, contender.network).config.num_classes
    numbers = tuple(map(str, range(count)))
    names = tuple(pipeline.class_names or numbers)
    if count != len(wanted):
        raise UserError(
            f"{source} must have the {len(wanted)} classes of the reference, got {count}; name the data that it learnt"
        )
    # Numbers may be names in another order: folders are sorted as texts, 0, 1, 10, 2.
    if set(names) != set(wanted) and numbers in (names, wanted):
        return torch.arange(len(wanted))
    if strangers := [name for name in wanted if name not in names]:
        raise UserError(
            f"{source} must have the classes of the reference, but does not know {listed(strangers, 5)}; its own are "
            f"{listed(names, 5)}: rename the folders of the reference, or name other data"
        )
    return torch.tensor([names.index(name) for name in wanted])


def weights_digest(contender: Contender, source: str) -> str:
    """What a model's weights and settings are, for the key of its stage."""
    pipeline, _ = load_trained(contender, source)
    return hashlib.sha256(repr((contender.key, pipeline.identity, pipeline.digest())).encode()).hexdigest()
