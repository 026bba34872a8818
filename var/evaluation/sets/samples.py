"""Sets of samples on disk: a folder of images, one file per seed, or ADM's npz. Nothing is resized, ever."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image, ImageOps
from torch import Tensor

from var.data.entries import RECORD
from var.errors import UserError
from var.evaluation.sets.folder import ignored, list_images
from var.evaluation.sets.records import Record, compared, differing, read_records
from var.files import file_digest
from var.foreign.archives import Header, npz_array, npz_header, npz_rows, write_npz_rows
from var.foreign.documents import read_json, taken
from var.foreign.pictures import opened_picture
from var.paths import expanded, kind_of_file
from var.sampling.work import MANIFEST
from var.terms import UNKNOWN, Terms

BATCH = 100  # images that are decoded at once
BATCH_BYTES = 2**27
"""Of large images fewer are decoded at once, at least one."""

MODES = {1: "L", 3: "RGB"}

_MANIFEST = {
    "protocol": str | None,
    "part_of": str | None,
    "seed": int,
    "count": int,
    "settings": dict,
    "versions": dict,
}
"""What the file beside a set may say, and what it must be then."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleSet:
    """uint8 images of one shape, in a fixed order, that are read when they are needed."""

    path: Path
    shape: tuple[int, int, int]  # (channels, height, width)
    count: int
    labels: Int64[Tensor, " n"] | None  # the classes that they were asked to show, if all of them say so
    files: tuple[Path, ...] = ()  # in order; none for an npz
    manifest: dict[str, Any] = field(default_factory=dict)  # what the set says of its making
    records: tuple[Record | None, ...] = ()  # what each image says of itself; none for an npz
    settings: Mapping[str, Any] | None = None  # what all records have in common
    folders: tuple[str, ...] = ()  # the class folder of each image; none where there are none
    notes: tuple[str, ...] = ()  # cautions: what of the folder is not in the set
    terms: Terms = UNKNOWN  # of images that `write_folder` wrote
    model_terms: Terms = UNKNOWN  # of what their model was trained on, as their records know it

    @property
    def prompts(self) -> list[str] | None:
        """The words that each image was drawn for; None unless all of them say so."""
        found = [None if record is None else record.prompt for record in self.records]
        prompts = [prompt for prompt in found if prompt is not None]
        return prompts if prompts and len(prompts) == self.count else None

    def batches(self, size: int = BATCH) -> Iterator[UInt8[Tensor, "batch c h w"]]:
        """All images in order, at most `size` at once; raises `UserError`, with the path, for a bad or an odd one."""
        channels, height, width = self.shape
        size = min(size, max(BATCH_BYTES // (channels * height * width), 1))
        if not self.files:
            for part in npz_rows(self.path, "arr_0", size):
                yield torch.from_numpy(part).permute(0, 3, 1, 2).contiguous()
            return
        for start in range(0, self.count, size):
            yield torch.stack([_read(path, self.shape) for path in self.files[start : start + size]])

    def fingerprint(self) -> str:
        """SHA-256 over the files' own, in order: other bytes or another order give another one."""
        return _joined(self.digests) if self.files else self.digests[0]

    @cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of each file."""
        return tuple(map(file_digest, self.files or (self.path,)))


def fingerprint_of(files: Iterable[Path]) -> str:
    """SHA-256 over those of the files, in order."""
    return _joined(map(file_digest, files))


def open_samples(path: Path | str, *, channels: int | None = None) -> SampleSet:
    """The images at `path`: a folder, a folder of class folders, or an npz with `arr_0` (NHWC) and maybe `arr_1`.

    Files are ordered by seed where their names are numbers, else by name. Labels come from the records of our own
    images or from `arr_1`; what class folders say, `class_labels` tells, for whom the classes have names. All images
    must have one size; `channels` (1 or 3) says which they must have, by default that of the first image. Raises
    `UserError` for an empty place, a set that is not finished, or an image (with its path) that is corrupt or of
    another size.
    """
    path = expanded(path)
    if not _is_folder(path):
        return _open_npz(path, channels)
    found, manifest = list_images(path), _manifest(path)
    records = read_records(found.files)
    kept = [place for place, file in enumerate(found.files) if file not in set(records.grids)]
    files = tuple(found.files[place] for place in kept)
    folders = tuple(found.folders[place] for place in kept) if found.folders else ()
    if "" in folders:
        beside = files[folders.index("")].name
        raise UserError(f"{path} must hold images or class folders, got both ({beside!r}); separate them")
    expected = manifest.get("count")
    if expected is not None and len(files) != expected:
        remedy = "finish `sample-set`" if len(files) < expected else "remove what is not of it"
        raise UserError(f"{path} must hold the {expected} images of its set, got {len(files)}; {remedy}")
    if not files:
        raise UserError(f"no images in {path}, only pictures of many at once; give the folder of the images")
    _check_made_alike(path, manifest, records.settings)
    with opened_picture(files[0]) as first:
        upright = ImageOps.exif_transpose(first)
        shape = (channels or (1 if first.mode in ("L", "1") else 3), upright.height, upright.width)
    grids = [file.name for file in records.grids]
    return SampleSet(
        path=path,
        shape=shape,
        count=len(files),
        labels=_recorded_labels(records.each),
        files=files,
        manifest=manifest,
        records=records.each,
        settings=records.settings,
        folders=folders,
        terms=Terms.of_file(path / RECORD),
        model_terms=records.terms,
        notes=(*found.notes, *([ignored(path, "picture of many images", grids)] if grids else [])),
    )


def save_npz(samples: Path | str, path: Path | str) -> None:
    """Pack the samples at `samples` as ADM's evaluator reads them: `arr_0` uint8 NHWC, `arr_1` the labels if known.

    Batch by batch, so that memory does not matter. Raises `UserError` as `open_samples` does.
    """
    opened = open_samples(samples)
    channels, height, width = opened.shape
    others = {} if opened.labels is None else {"arr_1": opened.labels.numpy()}
    batches = (batch.permute(0, 2, 3, 1).numpy() for batch in opened.batches())
    write_npz_rows(path, {"arr_0": ((opened.count, height, width, channels), batches)}, others)


def _joined(digests: Iterable[str]) -> str:
    return sha256("".join(digests).encode()).hexdigest()


def _is_folder(path: Path) -> bool:
    try:
        kind = kind_of_file(path)
    except OSError as error:
        raise UserError(f"{path} must be readable, but: {error.strerror}; mend its permissions") from error
    if kind is None:
        raise UserError(f"images are a folder of files or an npz file, but there is no {path}; check the path")
    return kind == "a folder"


def _open_npz(path: Path, channels: int | None) -> SampleSet:
    found = npz_header(path, "arr_0")
    if found is None:
        raise UserError(f"{path} must hold images as arr_0, got none; is it a file of statistics?")
    shape, kind = found
    if kind != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3) or 0 in shape[1:3]:
        raise UserError(f"{path}: arr_0 must be uint8 (n, height, width, 1 or 3), got {kind} {shape}; save it anew")
    if channels not in (None, shape[3]):
        raise UserError(f"{path}: arr_0 must have {channels} channel(s), got {shape[3]}; convert the images")
    next(npz_rows(path, "arr_0", 1), None)  # refused now and not when half of the work is done
    count, height, width, depth = shape
    return SampleSet(path=path, shape=(depth, height, width), count=count, labels=_npz_labels(path, count))


def _npz_labels(path: Path, count: int) -> Int64[Tensor, " n"] | None:
    if npz_header(path, "arr_1") is None:
        return None

    def check(found: Header) -> None:
        if found[0] != (count,) or found[1].kind not in "iu":
            raise UserError(f"{path}: arr_1 must hold {count} integers, got {found[1]} {found[0]}; save it anew")

    return torch.from_numpy(npz_array(path, "arr_1", check).astype(np.int64))


def _manifest(path: Path) -> dict[str, Any]:
    file = path / MANIFEST
    if not file.exists() and not file.is_symlink():
        return {}
    remedy = "draw the set again"
    manifest = read_json(file)
    for name, kind in _MANIFEST.items():
        if name in manifest:
            taken(manifest, name, kind, file, remedy=remedy)
    return manifest


def _check_made_alike(path: Path, manifest: Mapping[str, Any], settings: Mapping[str, Any] | None) -> None:
    """Raise unless the images were made as the file beside them says."""
    if settings is None or "settings" not in manifest:
        return
    said = compared(manifest["settings"])
    if said != settings:
        raise UserError(
            f"{path / MANIFEST} must be of the images beside it, got another {differing(said, settings)}; "
            "draw the set again, or remove that file"
        )


def _recorded_labels(records: Iterable[Record | None]) -> Int64[Tensor, " n"] | None:
    labels = [None if record is None else record.label for record in records]
    return None if None in labels else torch.tensor(labels, dtype=torch.int64)


def _read(path: Path, shape: tuple[int, int, int]) -> UInt8[Tensor, "c h w"]:
    channels, height, width = shape
    with opened_picture(path) as image:
        _check(image := _plain(ImageOps.exif_transpose(image), channels), path, shape)
        pixels = np.array(image)
    return torch.from_numpy(pixels.reshape(height, width, channels)).permute(2, 0, 1).contiguous()


def _plain(image: Image.Image, channels: int) -> Image.Image:
    """A picture of a palette or of black and white as what it shows, which loses nothing."""
    if image.mode == "P" and not image.has_transparency_data:
        image = image.convert("RGB")
        red, *others = image.split()
        return red if channels == 1 and all(one.tobytes() == red.tobytes() for one in others) else image
    return image.convert("L") if image.mode == "1" else image


def _check(image: Image.Image, path: Path, shape: tuple[int, int, int]) -> None:
    channels, height, width = shape
    if (image.height, image.width) != (height, width):
        raise UserError(
            f"{path} must be {height}x{width} (height x width) like the first image, got "
            f"{image.height}x{image.width}; nothing is resized here, replace or remove it"
        )
    if image.mode != MODES[channels]:
        raise UserError(f"{path} must be {MODES[channels]} of 8 bits like its set, got mode {image.mode}; convert it")
