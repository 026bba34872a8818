"""What the editing commands of both packages have in common: pictures in, for each a set of edits in files, a grid."""

import argparse
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from var.command_line.field_options import add_field_options, given_fields, settings_of
from var.command_line.frame import file_path
from var.command_line.sampling_options import add_drawing_arguments
from var.errors import UserError
from var.hub.remote import existing_path
from var.names import shown
from var.outputs import check_beside_images, check_outputs
from var.paths import expanded
from var.sampling.command import (
    AddArguments,
    Load,
    LoadedModel,
    add_sampling_options,
    chosen_prompts,
    chosen_work,
    draw_chosen,
)
from var.sampling.seeds import parse_seeds
from var.sampling.work import WorkList


class EditSettings(Protocol):
    """How a pipeline edits: a dataclass whose fields have options."""

    def method(self, masked: bool) -> tuple[str, dict[str, Any]]:
        """The pipeline's method, with masks or without, and its keywords; raises `UserError` for what contradicts."""
        ...


@dataclass(frozen=True, slots=True)
class Given:
    """A picture to edit, and its mask if it has one."""

    name: str
    pictures: tuple[Any, ...]  # of Pillow, as all here

    @property
    def record(self) -> dict[str, str]:
        """What the records of its edits say of it."""
        return {
            what: f"{self.name} {digest(picture)}" if what == "image" else digest(picture)
            for what, picture in zip(("image", "mask"), self.pictures, strict=False)
        }


def digest(picture: Any) -> str:
    """16 hexadecimal digits that tell pictures apart, by their pixels, in whatever file they are."""
    import hashlib

    about = f"{picture.mode} {picture.size} ".encode()
    return hashlib.blake2b(about + picture.tobytes(), digest_size=8).hexdigest()


def edit_command(
    add_model: AddArguments,
    load: Load,
    settings_class: type[Any],
    edits_class: type[EditSettings],
) -> tuple[AddArguments, Callable[[argparse.Namespace], None]]:
    """`add_arguments` and `run` of the command that edits pictures with a pipeline of one kind."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Declare the options."""
        add_model(parser)
        _add_pictures(parser)
        add_drawing_arguments(parser)
        parser.set_defaults(output=Path("outputs/edited"))
        add_field_options(parser, edits_class)
        add_sampling_options(parser, settings_class)

    def run(arguments: argparse.Namespace) -> None:
        """Draw the edits that the options ask for."""
        # Refused before torch is imported, and before a model is fetched.
        existing_path(arguments.model, load.__module__.partition(".")[0])
        folders = _folders(arguments)
        parse_seeds(arguments.seeds)
        chosen_prompts(arguments)
        said, edits = given_fields(settings_class, arguments), settings_of(edits_class, arguments)
        settings_class(**said)
        name, keywords = edits.method(bool(arguments.masks))
        model = load(arguments)
        work = chosen_work(arguments, model)
        given = _given(arguments, model, None if name == "upscale" else model.image_shape[1:])
        if arguments.grid is not None:
            from var.sampling.grid import check_grid

            check_grid(len(given) * (work.count + 2), arguments.grid)
        done = []
        for each, folder in zip(given, folders, strict=True):
            edited, own = _editing(model, each, name, keywords), {**vars(arguments), "output": folder}
            done.append(draw_chosen(argparse.Namespace(**own), work, edited, said)[1])
        if arguments.grid is not None:
            about = {**model.record, **model.told(said), "edit": name, **keywords}
            _save_grid(arguments.grid, model, given, work, folders, about)
            done.append(f"all of them in {shown(arguments.grid)}")
        print(*done, sep="\n")

    return add_arguments, run


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    files: dict[str, Any] = {"nargs": "+", "type": file_path, "metavar": "FILE"}
    parser.add_argument("--images", required=True, help="pictures to edit, of the model's size", **files)
    parser.add_argument(
        "--masks",
        default=[],
        help="black pictures, white where an image is redrawn, one each or one for all; without, all is varied",
        **files,
    )


def _folders(arguments: argparse.Namespace) -> list[Path]:
    """Where the edits of each image go; raises `UserError` for outputs in the place of others or of what is read."""
    images, masks, root = arguments.images, arguments.masks, arguments.output
    if len(masks) > 1 and len(masks) != len(images):
        raise UserError(
            f"--masks must be one for all images or one for each of {len(images)}, got {len(masks)}; correct it"
        )
    names, count = Counter(path.stem for path in images).most_common(1)[0]
    if count > 1:
        raise UserError(
            f"--images must have different names, after which folders are named, got {names!r} twice; rename one"
        )
    folder = Path(os.path.realpath(expanded(root)))
    for path in (*images, *masks):
        if folder in Path(os.path.realpath(path)).parents:
            raise UserError(f"--output must not hold what is read, got {root} with {path}; choose another place")
    if arguments.grid is not None:
        check_beside_images("--grid", arguments.grid, root)
        check_outputs([("--grid", arguments.grid)], [*images, *masks], model=arguments.model)
    return [root] if len(images) == 1 else [root / path.stem for path in images]


def _given(arguments: argparse.Namespace, model: LoadedModel, size: tuple[int, int] | None) -> list[Given]:
    """The pictures that the options name, of a size (None: any), which are looked at before any is edited."""
    from var.sampling.editing import given_images, given_masks

    channels, own = model.image_shape[0], model.image_shape[1:]
    masks = [_picture(path, 1, partial(given_masks, size=own)) for path in arguments.masks]
    look = partial(given_images, channels=channels, size=size)
    images = [_picture(path, channels, look) for path in arguments.images]
    masks = masks if len(masks) != 1 else masks * len(images)
    names = [path.name for path in arguments.images]
    return [Given(name, tuple(each)) for name, *each in zip(names, images, *([masks] if masks else []), strict=True)]


def _picture(path: Path, channels: int, look: Callable[[Any], Any]) -> Any:
    """The picture in a file; what its `look` refuses is told with the file's name."""
    from var.foreign.converted_pictures import read_picture

    picture = read_picture(path, shown(path), channels)
    try:
        look(picture)
    except UserError as error:
        raise UserError(f"{shown(path)}: {error}") from error
    return picture


def _editing(model: LoadedModel, given: Given, name: str, keywords: Mapping[str, Any]) -> LoadedModel:
    """The model, whose pipeline edits what is given instead of drawing."""

    def draw(labels: Any, **call: Any) -> Any:
        return getattr(model.pipeline, name)(*given.pictures, labels, **keywords, **call)

    return replace(model, pipeline=draw, record={**model.record, "edit": name, **keywords, **given.record})


def _save_grid(
    path: Path,
    model: LoadedModel,
    given: Sequence[Given],
    work: WorkList,
    folders: Sequence[Path],
    about: Mapping[str, Any],
) -> None:
    """A row for each image: itself, its mask if it has one, and its edits."""
    from PIL.Image import Resampling

    from var.sampling.grid import opened_pixels, write_grid

    _, height, width = model.image_shape
    rows: list[Any] = []
    for each, folder in zip(given, folders, strict=True):
        mode = each.pictures[0].mode
        rows += [picture.convert(mode).resize((width, height), Resampling.NEAREST) for picture in each.pictures]
        rows += [opened_pixels(folder / work[index].file) for index in range(work.count)]
    images = [each.record for each in given]
    write_grid(rows, len(given[0].pictures) + work.count, path, {**about, "images": images})
