"""Whether a folder is one for these images alone: sets that are mixed can be judged no more, nor told apart."""

import os
from collections.abc import Iterator
from pathlib import Path

from var.errors import UserError
from var.files import unwritable
from var.foreign.pictures import SUFFIXES
from var.hub.layout import CONFIG, PIPELINE_INDEX, RUN_FILE
from var.sampling.record import Recipe, read_record
from var.sampling.work import WorkList, is_image_name

OWNED = {PIPELINE_INDEX: "a model", CONFIG: "a model", RUN_FILE: "a run", "listing.json": "a run"}
"""Files by which a folder is known to be something else, and what."""


def check_alone(work: WorkList, recipe: Recipe, root: Path, *, overwrite: bool) -> None:
    """Raise `UserError` where `root` holds something else than images that `recipe` made, in the layout of `work`.

    Images of other seeds are told by one in each folder. With `overwrite` theirs may be other settings.
    """
    entries = _entries(root)
    for entry in entries:
        if entry.name in OWNED:
            raise _other(root, OWNED[entry.name], entry.name)
    flat = set(work.classes) == {""}
    if not flat:
        _refuse_first(root, (entry.name for entry in entries if is_image_name(entry.name)), "images without classes")
    for entry in entries:
        if entry.name.startswith((".", "@", "__")) or not entry.is_dir():
            continue
        if flat:
            names = (os.path.join(entry.name, each.name) for each in _entries(root / entry.name))
            _refuse_first(root, (name for name in names if _is_single(root / name)), "folders of images")
        elif not overwrite:
            _check_settings(root, entry.name, recipe, work)
    if flat and not overwrite:
        _check_settings(root, "", recipe, work)


def _check_settings(root: Path, folder: str, recipe: Recipe, work: WorkList) -> None:
    """Look at one image that is not asked for: those that are asked for are looked at one by one."""
    asked = work.seeds if folder in work.classes else ()
    names = (entry.name for entry in _entries(root / folder) if is_image_name(entry.name))
    name = next((name for name in names if int(name.removesuffix(".png")) not in asked), None)
    if name is not None and (found := read_record(root / folder / name)) is not None:
        recipe.check_settings(found, root / folder / name)


def _is_single(path: Path) -> bool:
    """Whether a file is a picture, and none of many images at once as `--grid` makes them."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    try:
        return "images" not in (read_record(path) or {})
    except UserError:  # somebody else's
        return True


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unwritable(folder, error) from error


def _refuse_first(root: Path, names: Iterator[str], what: str) -> None:
    name = next(names, None)
    if name is not None:
        raise _other(root, what, name)


def _other(root: Path, what: str, name: str) -> UserError:
    return UserError(
        f"{root} must be a folder for these images alone, but holds {what} ({name}); choose another --output"
    )
