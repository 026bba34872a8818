"""What samples are compared with: statistics of real images in one file, which says where they come from."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from var.data.entries import RECORD
from var.data.folder import FolderData
from var.errors import UserError
from var.evaluation.features.catalog import NAMES
from var.evaluation.features.extraction import FeatureExtractor, extract
from var.evaluation.metrics.frechet import check_covariance
from var.evaluation.metrics.statistics import Statistics
from var.evaluation.scores import Neighbourhood, Reference
from var.evaluation.sets.folder import list_images
from var.evaluation.sets.samples import BATCH_BYTES, SampleSet, fingerprint_of, open_samples
from var.files import file_digest
from var.foreign.archives import Header, npz_array, npz_header, npz_rows, write_npz
from var.foreign.documents import parse_json, taken
from var.images import to_uint8
from var.names import shown
from var.paths import expanded
from var.randomness import keyed_generator
from var.terms import UNKNOWN, Terms

KEPT_FEATURES = 10_000
"""Features that are kept beside the statistics, for precision, recall, kernel distances and the floor."""

_BATCH = 100
_REMEDY = "build it again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where statistics come from; whatever of it moves a distance must agree with the samples'."""

    source: str  # name of the folder
    images: int
    fingerprint: str  # SHA-256 over those of the files, in order
    height: int
    width: int
    channels: int
    resize: str
    crop: str
    rounding: str
    extractor: str
    extractor_digest: str


AS_THEY_ARE = {"resize": "none", "crop": "none", "rounding": "none"}
RESIZED = {
    "resize": "shorter side, Pillow bicubic, antialiased",
    "crop": "centre",
    "rounding": "to the nearest of 0..255, once, by the resize",
}
"""How real images are brought to the size of samples, in the words of `Provenance`; samples are never resized."""

COMPARED = ("extractor", "extractor_digest", "height", "width", "channels", "resize", "crop", "rounding")
"""Fields of `Provenance` in which two files must agree for their distances to be comparable."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ReferenceStatistics:
    """Mean and covariance of features of real images; of sFID's too where the network has them."""

    statistics: Statistics
    spatial: Statistics | None = None
    features: Float[Tensor, "n dimensions"] | None = None  # of some of the images
    provenance: Provenance | None = None  # None: a file of somebody else, which does not say
    terms: Terms = UNKNOWN  # of the real images
    images_file: Path | None = None  # an npz with some of the images (ADM's arr_0)
    digest: str = ""  # SHA-256 of the file, once there is one
    notes: tuple[str, ...] = ()  # cautions on the folder that they were built of, which no file keeps

    def save(self, path: Path | str) -> None:
        """Write an npz in ADM's layout (`mu`, `sigma`, `mu_s`, `sigma_s`), with our additions, whole or not at all."""
        arrays = self.statistics.arrays()
        if self.spatial is not None:
            arrays |= {"mu_s": self.spatial.mean, "sigma_s": self.spatial.cov}
        if self.features is not None:
            arrays["features"] = self.features.numpy()
        if self.provenance is not None:
            arrays["provenance"] = np.array(json.dumps(asdict(self.provenance)))
        if terms := self.terms.said():
            arrays["terms"] = np.array(json.dumps(terms))
        if self.images_file is not None:
            arrays["arr_0"] = np.concatenate(list(npz_rows(self.images_file, "arr_0", _BATCH)))
        write_npz(path, arrays)

    @classmethod
    def load(cls, path: Path | str) -> "ReferenceStatistics":
        """Read our own file, or ADM's, whose `mu` and `sigma` are used as they are; its images serve pairs of samples.

        Raises `UserError` for a missing file, one that is no npz, and arrays that are missing or misshapen.
        """
        path = expanded(path)
        statistics = Statistics.load(path)
        has_spatial = npz_header(path, "mu_s") is not None
        spatial = Statistics.load(path, spatial=True) if has_spatial else None
        for each in (statistics, spatial):
            if each is not None:
                check_covariance(each, shown(path))
        has_images = npz_header(path, "arr_0") is not None
        if has_images:
            open_samples(path)  # looks at shape and type
        return cls(
            statistics=statistics,
            spatial=spatial,
            features=_features(path, statistics.dimensions),
            provenance=_provenance(path),
            terms=Terms.read(_document(path, "terms") or {}, f"{shown(path)}: its terms", _REMEDY),
            images_file=path if has_images else None,
            digest=file_digest(path),
        )

    def reference(
        self, extractor: FeatureExtractor, *, neighbourhood: Neighbourhood | None = None, progress: bool = False
    ) -> Reference:
        """The reference for `evaluate`; where the file holds images, they are seen by `extractor` now."""
        features = self.features
        if features is None and self.images_file is not None:
            batches = open_samples(self.images_file).batches()
            features = extract(batches, extractor, name="reference images", progress=progress).features
            self.check_dimensions(features.shape[1], extractor)
        return Reference(
            features=features,
            statistics=self.statistics,
            digest=extractor.digest if self.provenance is None else self.provenance.extractor_digest,
            spatial=self.spatial,
            neighbourhood=neighbourhood,
        )

    def check_samples(self, samples: SampleSet, extractor: FeatureExtractor) -> None:
        """Raise `UserError`, naming the field, unless `samples`, seen by `extractor`, compare with the real images.

        A file of somebody else does not say how it was made, and is taken on trust.
        """
        if self.provenance is None:
            return
        channels, height, width = samples.shape
        prepared = AS_THEY_ARE if self.provenance.resize == AS_THEY_ARE["resize"] else RESIZED
        network = {"extractor": extractor.name, "extractor_digest": extractor.digest}
        wanted = replace(self.provenance, channels=channels, height=height, width=width, **network, **prepared)
        check_comparable(self.provenance, wanted, ("the reference", f"the samples in {samples.path}"))

    def check_dimensions(self, found: int, extractor: FeatureExtractor) -> None:
        """Raise `UserError` unless the network gives as many features as the file has."""
        if found != self.statistics.dimensions:
            raise UserError(
                f"the reference has {self.statistics.dimensions} features, and {extractor.name} gives {found}; "
                "use the extractor that the reference was made with"
            )


def build_statistics(
    folder: Path | str,
    extractor: FeatureExtractor,
    *,
    size: int | None = None,
    channels: int = 3,
    keep_features: int = KEPT_FEATURES,
    progress: bool = True,
) -> ReferenceStatistics:
    """Statistics of all images in `folder` (or in its class folders), with their provenance; memory stays bounded.

    With `size`, images are resized with Pillow's antialiased bicubic filter until the shorter side fits, and cropped
    around the centre; without it they are taken as they are. Of `keep_features` images, drawn by a fixed seed, the
    features are kept too. Raises `UserError` for an empty folder, and for an image (with its path) that is corrupt or,
    without `size`, of another size.
    """
    folder = expanded(folder)
    batches, files, shape, notes = _open(folder, size, channels)
    found = extract(batches, extractor, name=folder.name or "images", progress=progress, total=len(files))
    order = torch.randperm(len(files), generator=keyed_generator("kept features"))[:keep_features]
    provenance = Provenance(
        source=folder.resolve().name,
        images=len(files),
        fingerprint=fingerprint_of(files),
        height=shape[1],
        width=shape[2],
        channels=shape[0],
        extractor=extractor.name,
        extractor_digest=extractor.digest,
        **(AS_THEY_ARE if size is None else RESIZED),
    )
    return ReferenceStatistics(
        statistics=Statistics.from_features(found.features),
        spatial=None if found.spatial is None else Statistics.from_features(found.spatial),
        features=found.features[order.sort().values] if keep_features > 0 else None,
        provenance=provenance,
        terms=Terms.of_file(folder / RECORD),
        notes=notes,
    )


def check_maker(path: Path | str, extractor: str) -> None:
    """Raise `UserError` where the statistics in `path` were made with another network than a published `extractor`.

    It is told by its name, before a large file is downloaded in vain. What a folder holds is known once it is opened,
    and a file of somebody else does not say how it was made.
    """
    made = _provenance(expanded(path))
    same = (extractor, extractor.removeprefix("timm:"))
    if made is None or made.extractor in same or not (extractor in NAMES or extractor.startswith("timm:")):
        return
    name = shown(made.extractor)
    which = "that one" if made.extractor in NAMES else "its folder, such as a run's `judge`,"
    kind = "extractor" if made.extractor in NAMES else "classifier"
    raise UserError(f"{path} was made with the {kind} {name}, got {extractor}; give {which} by --extractor")


def check_comparable(first: Provenance, second: Provenance, names: tuple[str, str] = ("first", "second")) -> None:
    """Raise `UserError`, naming the field, unless distances to both references can be compared."""
    for name in COMPARED:
        a, b = getattr(first, name), getattr(second, name)
        if a != b:
            raise UserError(
                f"statistics must agree in {name} to be compared, got {a!r} ({names[0]}) and {b!r} ({names[1]}); "
                "build one of them again"
            )


def _open(
    folder: Path, size: int | None, channels: int
) -> tuple[Iterator[Tensor], list[Path], tuple[int, int, int], tuple[str, ...]]:
    """Batches of uint8 images, the files in the same order, the shape of all, and cautions."""
    if size is None:
        samples = open_samples(folder, channels=channels)
        if not samples.files:
            raise UserError(f"reference images are files in a folder, got {folder}; unpack them")
        return samples.batches(), list(samples.files), samples.shape, samples.notes
    data = FolderData(folder, size=size, channels=channels)
    step = max(min(_BATCH, BATCH_BYTES // (4 * channels * size**2)), 1)
    batches = (
        to_uint8(torch.stack([data.load(index) for index in range(start, min(start + step, len(data)))]))
        for start in range(0, len(data), step)
    )
    return batches, [Path(path) for path in data.paths], (channels, size, size), list_images(folder).notes


def _features(path: Path, dimensions: int) -> Float[Tensor, "n d"] | None:
    if npz_header(path, "features") is None:
        return None

    def check(found: Header) -> None:
        shape, kind = found
        if len(shape) != 2 or shape[1] != dimensions or kind.kind != "f":
            raise UserError(f"{path}: features must be (n, {dimensions}) floats, got {kind} {shape}; build it again")

    rows = npz_array(path, "features", check)
    # One image alone has no neighbours.
    return torch.from_numpy(rows.astype(np.float64 if rows.itemsize > 4 else np.float32)) if len(rows) > 1 else None


def _provenance(path: Path) -> Provenance | None:
    values = _document(path, "provenance")
    if values is None:
        return None
    source, kinds = f"{shown(path)}: its provenance", {field.name: field.type for field in fields(Provenance)}
    return Provenance(**{name: taken(values, name, kind, source, remedy=_REMEDY) for name, kind in kinds.items()})


def _document(path: Path, name: str) -> dict[str, Any] | None:
    """The JSON object that a file of statistics has under `name`; None if it has none."""
    found = npz_header(path, name)
    if found is None:
        return None
    shape, kind = found
    if shape != () or kind.kind != "U":
        raise UserError(f"{path}: its {name} must be a text, got {kind} {shape}; {_REMEDY}")
    return parse_json(str(npz_array(path, name)), f"{shown(path)}: its {name}", remedy=_REMEDY)
