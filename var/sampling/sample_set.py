"""Sets of samples to be judged: which seeds and classes a protocol asks for, and the file that says so.

Beside the images, `sample-set.json` tells the protocol that the set follows (or that it is a part of), the number of
images and what all records have in common.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from var.errors import UserError
from var.files import sweep, write_text
from var.foreign.documents import read_json
from var.outputs import check_beside_images, check_outputs
from var.paths import expanded
from var.sampling.command import LoadedModel, draw_work
from var.sampling.seeds import SpreadSeeds
from var.sampling.work import MANIFEST, WorkList, stranger_in


def draw_sample_set(
    arguments: argparse.Namespace,
    model: LoadedModel,
    *,
    labels: Sequence[int],
    options: Mapping[str, Any],
    rounding: str,
    num_classes: int,
    image_shape: tuple[int, int, int],
) -> str:
    """Draw the set that the options of `add_sample_set_arguments` ask for.

    `labels` are those of all images of the protocol; `options` are keywords of the pipeline's call; `rounding` makes
    its images uint8, and stands in their records and in the manifest as the options do. Any number of processes may do
    this at the same time. Returns what was done, for the caller to print once all files are written.

    Raises `UserError` unless the model has `num_classes` and makes images of `image_shape` (channels, height, width),
    and for a folder that holds another set.
    """
    from var.sampling.record import Recipe

    if (model.num_classes, model.image_shape) != (num_classes, image_shape):
        raise UserError(
            f"protocol {arguments.protocol!r} is for models of {num_classes} classes and {_written(image_shape)} "
            f"images, got one of {model.num_classes} and {_written(model.image_shape)}; choose another"
        )
    check_beside_images("--npz", arguments.npz, arguments.output)
    check_outputs([("--npz", arguments.npz)], model=getattr(arguments, "model", None))
    total = len(labels)
    seeds = SpreadSeeds(arguments.seed * total, total, arguments.count or total)
    work = WorkList(seeds, {"": lambda seed: labels[seed % total]})
    recipe = Recipe({**model.record, "protocol": arguments.protocol, "rounding": rounding, **options}, model.names)
    whole = seeds.count == total
    about = {
        "protocol": arguments.protocol if whole else None,
        "part_of": None if whole else arguments.protocol,
        "seed": arguments.seed,
        "count": seeds.count,
        "settings": dict(recipe.settings),
        "versions": dict(recipe.versions),
    }

    _check_folder(arguments, about, work)

    def write_manifest() -> None:
        write_text(arguments.output / MANIFEST, json.dumps(about, indent=2, ensure_ascii=False) + "\n")

    # A protocol leaves nothing to the model: what it does not say is by default.
    call = options if model.sampling is None else {"sampling": model.sampling(**options)}
    drawn = draw_work(arguments, work, model, recipe, call, rounding=rounding, on_start=write_manifest)
    sweep(expanded(arguments.output), lambda name: name == MANIFEST)
    return drawn


def _check_folder(arguments: argparse.Namespace, about: Mapping[str, Any], work: WorkList) -> None:
    """Raise where the folder holds another set, or images of other seeds, of which this one would not replace one."""
    root = expanded(arguments.output)
    found: Mapping[str, Any] = {}
    with suppress(UserError):  # none, or one that tells nothing and is written anew
        found = read_json(root / MANIFEST)
    for name, mine, theirs in (
        ("seed", about["seed"], found.get("seed", about["seed"])),
        ("protocol", arguments.protocol, found.get("protocol") or found.get("part_of") or arguments.protocol),
    ):
        if mine != theirs:
            raise UserError(
                f"{arguments.output} must be a folder for this set alone, but holds one of {name} {theirs}, and now "
                f"{mine} is asked for; choose another --output"
            )
    if (stranger := stranger_in(work, root)) is not None:
        raise UserError(
            f"{arguments.output} must be a folder for this set alone, but holds {stranger}, which is not of it; choose "
            "another --output"
        )


def _written(shape: tuple[int, int, int]) -> str:
    channels, height, width = shape
    return f"{height}x{width}x{channels}"


def first_process() -> bool:
    """Whether this is the process that does what only one of them should."""
    return os.environ.get("RANK", "0") == "0"
