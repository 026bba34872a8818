"""Sets of samples on disk: a folder of images, one file per seed, or ADM's npz. Nothing is resized, ever."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from var.errors import UserError
from var.evaluation.sets.archives import array_rows, array_shape, write_images
from var.files import file_digest
from var.sampling.record import KEY
from var.sampling.sample_set import MANIFEST

BATCH = 100  # images that are decoded at once
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MODES = {1: "L", 3: "RGB"}
FORMATS = ("PNG", "JPEG", "WEBP", "BMP")


@dataclass(frozen=True, kw_only=True, eq=False)
class SampleSet:
    """uint8 images of one shape, in a fixed order, that are read when they are needed."""

    path: Path
    shape: tuple[int, int, int]  # (channels, height, width)
    count: int
    labels: Int64[Tensor, " n"] | None  # the classes that they were asked to show
    files: tuple[Path, ...] = ()  # in order; none for an npz
    manifest: dict[str, Any] = field(default_factory=dict)  # what the set says of its making

    def batches(self, size: int = BATCH) -> Iterator[UInt8[Tensor, "batch c h w"]]:
        """All images in order, `size` at once; raises `UserError`, with the path, for a corrupt or an odd-sized one."""
        if not self.files:
            for part in array_rows(self.path, "arr_0", size):
                yield torch.from_numpy(part).permute(0, 3, 1, 2).contiguous()
            return
        for start in range(0, self.count, size):
            yield torch.stack([_read(path, self.shape) for path in self.files[start : start + size]])

    def fingerprint(self) -> str:
        """SHA-256 over the files' own, in order: other bytes or another order give another one."""
        return fingerprint_of(self.files) if self.files else file_digest(self.path)


def fingerprint_of(files: Iterable[Path]) -> str:
    """SHA-256 over those of the files, in order."""
    return sha256("".join(map(file_digest, files)).encode()).hexdigest()


def open_samples(path: Path | str, *, channels: int | None = None) -> SampleSet:
    """The images at `path`: a folder, a folder of class folders, or an npz with `arr_0` (NHWC) and maybe `arr_1`.

    Files are ordered by seed where their names are numbers, else by name. Labels come from the records of our own
    images, from `arr_1`, or from class folders in the order of their names. All images must have one size; `channels`
    (1 or 3) says which they must have, by default that of the first image. Raises `UserError` for an empty place, a set
    that is not finished, or an image (with its path) that is corrupt or of another size.
    """
    path = Path(path).expanduser()
    if path.is_file():
        return _open_npz(path, channels)
    if not path.is_dir():
        raise UserError(f"images are a folder of files or an npz file, but there is no {path}; check the path")
    groups, manifest = _groups(path), _manifest(path)
    files = [file for group in groups for file in group]
    if not files:
        raise UserError(f"no images in {path}; give a folder with {', '.join(SUFFIXES)} files")
    expected = manifest.get("count")
    if isinstance(expected, int) and len(files) != expected:
        raise UserError(f"{path} must hold the {expected} images of its set, got {len(files)}; finish `sample-set`")
    with _opened(files[0]) as first:
        shape = (channels or (1 if first.mode == "L" else 3), first.height, first.width)
    labels = _labels(files, groups)
    return SampleSet(path=path, shape=shape, count=len(files), labels=labels, files=tuple(files), manifest=manifest)


def save_npz(samples: Path | str, path: Path | str) -> None:
    """Pack the samples at `samples` as ADM's evaluator reads them: `arr_0` uint8 NHWC, `arr_1` the labels if known.

    Batch by batch, so that memory does not matter. Raises `UserError` as `open_samples` does.
    """
    opened = open_samples(samples)
    channels, height, width = opened.shape
    others = {} if opened.labels is None else {"arr_1": opened.labels.numpy()}
    batches = (batch.permute(0, 2, 3, 1).numpy() for batch in opened.batches())
    write_images(path, batches, (opened.count, height, width, channels), others)


def _open_npz(path: Path, channels: int | None) -> SampleSet:
    found = array_shape(path, "arr_0")
    if found is None:
        raise UserError(f"{path} must hold images as arr_0, got none; is it a file of statistics?")
    shape, kind = found
    if kind != np.uint8 or len(shape) != 4 or shape[3] not in (1, 3):
        raise UserError(f"{path}: arr_0 must be uint8 (n, height, width, 1 or 3), got {kind} {shape}; save it anew")
    if channels not in (None, shape[3]):
        raise UserError(f"{path}: arr_0 must have {channels} channel(s), got {shape[3]}; convert the images")
    count, height, width, depth = shape
    return SampleSet(path=path, shape=(depth, height, width), count=count, labels=_npz_labels(path, count))


def _npz_labels(path: Path, count: int) -> Int64[Tensor, " n"] | None:
    found = array_shape(path, "arr_1")
    if found is None:
        return None
    if found[0] != (count,) or found[1].kind not in "iu":
        raise UserError(f"{path}: arr_1 must hold {count} integers, got {found[1]} {found[0]}; save it anew")
    parts = [torch.from_numpy(part.astype(np.int64)) for part in array_rows(path, "arr_1", 1 << 20)]
    return torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)


def _groups(path: Path) -> list[list[Path]]:
    """The image files of `path`, or of each class folder in it, in order."""
    folders = sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    loose = _images(path)
    if folders and loose:
        raise UserError(f"{path} must hold images or class folders, got both ({loose[0].name!r}); separate them")
    return [_images(folder) for folder in folders] if folders else [loose]


def _images(folder: Path) -> list[Path]:
    names = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")]
    # Numbers first, by value: a set's files are named by seed, without zeros in front.
    return sorted(names, key=lambda p: (0, int(p.stem), "") if p.stem.isdecimal() else (1, 0, p.name))


def _manifest(path: Path) -> dict[str, Any]:
    try:
        return json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path / MANIFEST} must be JSON, but: {error}; draw the set again") from error


def _labels(files: list[Path], groups: list[list[Path]]) -> Int64[Tensor, " n"] | None:
    if len(groups) > 1:
        counts = torch.tensor([len(group) for group in groups])
        return torch.arange(len(groups)).repeat_interleave(counts)
    labels = [_recorded_label(path) for path in files]
    return None if None in labels else torch.tensor(labels, dtype=torch.int64)


def _recorded_label(path: Path) -> int | None:
    """The class that an image of ours was asked to show, as its own text chunk says."""
    with _opened(path) as image:
        text = image.info.get(KEY)
    try:
        label = json.loads(text)["class_label"] if text else None
    except (ValueError, KeyError, TypeError):
        label = None
    return label if type(label) is int else None


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path, formats=FORMATS)
    except Exception as error:  # Pillow's readers raise a dozen kinds for broken files
        raise _corrupt(path, error) from error


def _read(path: Path, shape: tuple[int, int, int]) -> UInt8[Tensor, "c h w"]:
    channels, height, width = shape
    try:
        with _opened(path) as image:
            if (image.height, image.width) != (height, width):
                raise UserError(
                    f"{path} must be {height}x{width} (height x width) like the first image, got "
                    f"{image.height}x{image.width}; nothing is resized here, replace or remove it"
                )
            if image.mode != MODES[channels]:
                raise UserError(
                    f"{path} must be {MODES[channels]} of 8 bits like its set, got mode {image.mode}; convert it"
                )
            pixels = np.array(image)
    except UserError:
        raise
    except Exception as error:
        raise _corrupt(path, error) from error
    return torch.from_numpy(pixels.reshape(height, width, channels)).permute(2, 0, 1).contiguous()


def _corrupt(path: Path, error: Exception) -> UserError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"{path} must be a whole image, but it cannot be decoded ({reason}); replace or remove it")
