"""The files that a command is asked to write, looked at before its work: none may take the place of another one."""

import os
import re
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path

from var.errors import UserError
from var.files import check_output, sweep, unwritable
from var.paths import expanded, kind_of_file


def check_outputs(
    outputs: Sequence[tuple[str, Path | None]],
    inputs: Iterable[Path | str | None] = (),
    *,
    model: Path | str | None = None,
) -> None:
    """Refuse outputs (option, file) before anything is written.

    Raises `UserError` for two outputs in one file, one in place of an input or inside an input that is a folder, one in
    place of a file of a `model`, and one that could not be written. What killed processes left half-written of these
    files is removed.
    """
    given = [(option, expanded(path)) for option, path in outputs if path is not None]
    for _, path in given:
        try:
            there = kind_of_file(path) is not None
        except OSError as error:
            raise unwritable(path, error) from error
        if there:
            check_output(path)  # makes no folder where there is something
    for (option, path), (other, second) in combinations(given, 2):
        if _same(path, second) or _within(path, second) or _within(second, path):
            raise UserError(
                f"each output needs a file of its own, got {path} for {option} and {second} for {other}; "
                "name another one"
            )
    sources = [expanded(each) for each in inputs if each is not None]
    for option, path in given:
        if model is not None and os.path.exists(path) and _within(path, expanded(model)):
            raise UserError(f"{option} must not write over a file of the model, got {path}; choose another place")
        for source in sources:
            if _same(path, source) or (os.path.isdir(source) and _within(path, source)) or _within(source, path):
                raise UserError(
                    f"{option} must not write over what is read or into it, got {path} and the input "
                    f"{source}; choose another place"
                )
    for _, path in given:
        check_output(path)
        target = _real(path)
        sweep(target.parent, lambda name, target=target: name == target.name)


def check_beside_images(option: str, path: Path | str | None, root: Path | str) -> None:
    """Refuse an output in place of an image, a folder or a list of the set in `root`; raises `UserError`."""
    if path is None:
        return
    target, folder = _real(expanded(path)), _real(expanded(root))
    if target == folder or _within(folder, target):
        raise UserError(f"{option} must be a file beside the images, got {path}, their folder; name another file")
    if not _within(target, folder):
        return
    inside = target.relative_to(folder)
    is_image = re.fullmatch(r"\d+\.png", inside.name, re.IGNORECASE) is not None
    is_list = len(inside.parts) == 1 and (inside.suffix == ".json" or inside.name.startswith("."))
    is_class = len(inside.parts) == 1 and not inside.suffix
    if is_image or is_list or is_class:
        raise UserError(
            f"{option} must not take the place of an image or a list of the set in {root}, got {path}; "
            "write it elsewhere"
        )


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _same(path: Path, other: Path) -> bool:
    try:
        return _real(path) == _real(other) or path.samefile(other)
    except OSError:
        return False


def _within(path: Path, folder: Path) -> bool:
    return _real(folder) in _real(path).parents
