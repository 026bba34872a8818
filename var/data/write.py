"""Any set of images as a folder of class folders of PNGs."""

import json
from collections import defaultdict
from pathlib import Path
from typing import SupportsIndex

import torch
from tqdm.auto import tqdm

from var.data.apart import check_apart
from var.data.base import ImageData, fingerprint, unwrapped
from var.data.captions import checked_caption
from var.data.class_names import checked_names
from var.data.entries import METADATA, RECORD, is_left_out
from var.data.whole_numbers import as_whole
from var.errors import UserError
from var.files import is_unfinished, make_folder, sweep, write_json, write_text
from var.foreign.documents import read_json, taken
from var.images import save_png, to_pil
from var.paths import expanded
from var.terms import Terms

KIND = "var written data 1"


def write_folder(
    data: ImageData, directory: Path | str, *, count: SupportsIndex | None = None, progress: bool = True
) -> Path:
    """Write the first `count` images of `data`, or all, to `directory`/class/index.png; returns the directory.

    `FolderData` of the same size reads them back, sorted by class, to within rounding to 256 levels; their captions,
    if they have any, which go into `metadata.jsonl`, and their terms are as they were. An interrupted
    call may be repeated, and one with a larger count adds to what is there. Raises `UserError`, before anything is
    written, for an impossible count or class name, if the directory holds anything else, other images of the same data
    included, and if it is, holds or lies in the folder that the data are read from; `BadImageError` for an image or a
    caption that cannot be had.
    """
    total = as_whole(len(data) if count is None else count)
    if total is None or not 1 <= total <= len(data):
        raise UserError(f"the count must lie in [1, {len(data)}], the number of images, got {count}; correct it")
    if data.shape[0] not in (1, 3):
        raise UserError(f"only images of 1 or 3 channels become pictures, got {data.shape[0]}; choose the channels")
    directory = expanded(directory)
    places = getattr(unwrapped(data), "places", ())
    check_apart(directory, places)
    files = _files(data, total)
    # Of files a fingerprint knows names and sizes only, which two splits may have in common.
    source = [str(place.resolve()) for place in places]
    record = {"kind": KIND, "data": fingerprint(data), "source": source, "count": total, "whole": False}
    record |= Terms.of(data).said()
    captions = getattr(data, "captions", None)
    _check_directory(directory, files, record, captions is not None)
    make_folder(directory)
    write_json(directory / RECORD, record)
    _make_folders(directory, files)
    labels, lines = data.labels.tolist(), []
    for index in tqdm(range(total), desc="write", unit="image", disable=not progress):
        image = torch.as_tensor(data.load(index))
        name = f"{data.classes[labels[index]]}/{_name(data, index)}"
        if captions is not None:
            text = checked_caption(captions[index], data.describe(index))
            lines.append(json.dumps({"file_name": name, "text": text}, ensure_ascii=False) + "\n")
        save_png(to_pil(image[None])[0], directory / name)
    if captions is not None:
        write_text(directory / METADATA, "".join(lines))
    write_json(directory / RECORD, record | {"whole": True})
    return directory


def _name(data: ImageData, index: int) -> str:
    return f"{index:0{len(str(len(data) - 1))}d}.png"


def _files(data: ImageData, count: int) -> dict[str, set[str]]:
    """The files that are to be written, by their folders."""
    checked_names(data.classes, "the data")
    for name in data.classes:
        if is_left_out(name) or name == METADATA or set(name) & set('/\\:*?"<>|') or name != name.strip().rstrip("."):
            raise UserError(f"a class that becomes a folder needs a plain name, got {name!r}; rename it")
    files = defaultdict(set)
    for index, label in enumerate(data.labels[:count].tolist()):
        files[data.classes[label]].add(_name(data, index))
    return files


def _check_directory(
    directory: Path, files: dict[str, set[str]], record: dict[str, object], has_captions: bool
) -> None:
    """Raise `UserError` unless `directory` is new, empty, or holds a part of what an equal call writes."""
    if not directory.is_dir():
        return
    entries = [path for path in directory.iterdir() if not is_unfinished(path)]
    if not entries:
        return
    known = read_json(path) if (path := directory / RECORD).exists() else {}
    strangers = sorted({path.name for path in entries} - {RECORD, *files, *([METADATA] if has_captions else [])})
    if strangers and not known:
        raise UserError(f"{directory} must be empty or absent, got {strangers[0]!r} in it; choose another folder")
    if any(known.get(name) != record[name] for name in ("kind", "data", "source")):
        raise UserError(f"{directory} must be empty or absent, but it holds other images; choose another folder")
    before, wanted = (taken(each, "count", int, path, remedy="choose another folder") for each in (known, record))
    if before > wanted:
        raise UserError(f"{directory} holds {before} images already, got a count of {wanted}; choose another folder")
    if strangers:
        raise UserError(f"{directory} must hold only what was written, got {strangers[0]!r}; move it out")
    for name, expected in files.items():
        inside = (directory / name).iterdir() if (directory / name).is_dir() else ()
        if added := sorted({path.name for path in inside if not is_unfinished(path)} - expected):
            raise UserError(f"{directory / name} must hold only what was written, got {added[0]}; move it out")


def _make_folders(directory: Path, files: dict[str, set[str]]) -> None:
    """Make the class folders; raises `UserError` where the file system takes two names for one."""
    sweep(directory)
    places: dict[tuple[int, int], str] = {}
    for name in files:
        status = make_folder(directory / name).stat()
        other = places.setdefault((status.st_dev, status.st_ino), name)
        if other != name:
            raise UserError(f"the file system takes {other!r} and {name!r} for one folder; rename one of the classes")
        sweep(directory / name)
