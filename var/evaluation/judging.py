"""From sets of samples on disk to the report on a model: what `var evaluate` does."""

import platform
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from var.errors import UserError
from var.evaluation.features.catalog import distance_name
from var.evaluation.features.extraction import FeatureExtractor
from var.evaluation.metrics.frechet import RankDeficientWarning, frechet_distance
from var.evaluation.metrics.statistics import Statistics
from var.evaluation.report.cautions import UNKNOWN_ORIGIN, cautions
from var.evaluation.report.score_report import ScoreReport, values_of
from var.evaluation.scores import Extracted, Neighbourhood, Reference, extract_samples, neighbourhood, score
from var.evaluation.sets.class_predictions import UNKNOWN_CLASSES, choose_classifier, class_logits
from var.evaluation.sets.protocols import SamplingProtocol, followed_paradigm
from var.evaluation.sets.protocols import protocol as find_protocol
from var.evaluation.sets.reference_statistics import ReferenceStatistics
from var.evaluation.sets.rejection import check_share, keep_most_confident
from var.evaluation.sets.samples import SampleSet, open_samples
from var.randomness import keyed_generator


def judge(
    samples: Sequence[Path | str],
    reference: Path | str,
    extractor: FeatureExtractor,
    *,
    name: str | None = None,
    protocol: str | None = None,
    train: Path | str | None = None,
    test: Path | str | None = None,
    keep_share: float | None = None,
    classifier: FeatureExtractor | None = None,
    progress: bool = True,
) -> ScoreReport:
    """The report on a model from sets of its samples, one a generation seed, against the statistics in `reference`.

    `protocol` is checked against what the sets say of themselves; without it theirs is taken, if they agree. `train`
    and `test` are folders of real images, for copies. `keep_share` adds the scores of rejection sampling, apart.
    `classifier` tells classes where the extractor does not. Raises `UserError`, which names the field, for sets,
    reference, extractor and protocol that do not fit each other.
    """
    sets = [open_samples(path) for path in samples]
    _check_sets(sets)
    teller = choose_classifier(sets, extractor, classifier)
    if keep_share is not None:
        _check_rejection(sets, keep_share, teller, extractor)
    followed, notes = _followed(sets, protocol, extractor)
    file = ReferenceStatistics.load(reference)
    file.check_samples(sets[0], extractor)
    near = _neighbourhood(train, test, extractor, sets[0].shape[0])
    real = file.reference(extractor, neighbourhood=near, progress=progress)
    results, kept = [], []
    for one in sets:
        found = extract_samples(one.batches(), real, extractor, progress=progress, total=one.count)
        file.check_dimensions(found.features.features.shape[1], extractor)
        logits = class_logits(one, teller, extractor, found.features, progress=progress)
        results.append(_scored(found, real, one.labels, logits))
        if keep_share is not None:
            kept.append(_scored_after_rejection(found, real, one.labels, logits, keep_share))
    return score_report(
        name or sets[0].path.stem,
        extractor,
        real,
        [(_described(one), one.labels) for one in sets],
        results,
        classifier=None if classifier is None else _network(classifier),
        reference=_described_reference(file, Path(reference)),
        protocol=None if followed is None else followed.to_dict(),
        rejection=_rejection(keep_share, kept),
        warnings=[*_unsaid(file, sets, teller, extractor), *notes],
    )


def score_report(
    name: str,
    extractor: FeatureExtractor,
    real: Reference,
    sets: Sequence[tuple[dict[str, Any], Tensor | None]],
    results: Sequence[dict[str, Any]],
    *,
    warnings: Sequence[str] = (),
    **others: Any,
) -> ScoreReport:
    """The report on a model: `results` are the scores of `sets`, which are told with their labels, against `real`.

    `others` are further fields of `ScoreReport`; `warnings` come after the cautions that follow from the sets.
    """
    counted = [(about["samples"], labels) for about, labels in sets]
    return ScoreReport(
        name=name,
        distance=distance_name(extractor.name, extractor.digest),
        sets=[about for about, _ in sets],
        scores=values_of(results),
        extractor=_network(extractor),
        floor=floor(real, min(count for count, _ in counted)),
        warnings=[*cautions(counted, real.statistics), *warnings],
        environment=environment(),
        **others,
    )


def floor(reference: Reference, count: int, *, seed: int = 0) -> dict[str, Any] | None:
    """What real images score against real images: two disjoint random parts of `count` each, or as many as there are.

    The bias of a distance is about c / n of each side, so two parts of n are 2 c / n apart; "at_samples" is what
    `count` real images would score against the whole reference, c / count + c / its size. None without real features.
    """
    rows = reference.features
    if rows is None or len(rows) < 4:
        return None
    size = min(count, len(rows) // 2)
    order = torch.randperm(len(rows), generator=keyed_generator("floor", seed))
    parts = [Statistics.from_features(rows[order[part].sort().values]) for part in (slice(size), slice(size, 2 * size))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankDeficientWarning)
        distance = frechet_distance(*parts)
    whole = reference.statistics.count
    expected = distance * size / 2 * (1 / count + (1 / whole if whole else 0))
    return {"samples": size, "fd": distance, "at_samples": expected}


def environment(*others: str) -> dict[str, Any]:
    """Versions that scores may depend on, and those of `others`; packages that are not installed are left out."""
    found = {}
    for package in ("next-scale", "torch", "numpy", "timm", "pillow", "torch-fidelity", *others):
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return {
        "versions": found,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "date": time.strftime("%Y-%m-%d"),
    }


def _check_sets(sets: Sequence[SampleSet]) -> None:
    if not sets:
        raise UserError("judging needs at least one set of samples, got none; give a folder or an npz")
    first = sets[0]
    for one in sets:
        if one.count < 2:
            raise UserError(f"{one.path} must hold at least 2 images, got {one.count}; a distribution needs more")
    for other in sets[1:]:
        if other.shape != first.shape:
            raise UserError(
                f"all sets of a model need images of one shape (channels, height, width), got {first.shape} in "
                f"{first.path} and {other.shape} in {other.path}; draw them alike"
            )
        mine, theirs = (one.manifest.get("settings") for one in (first, other))
        if mine != theirs:
            raise UserError(
                f"sets of one model may differ in their seeds only, got another {_differing(mine, theirs)} in "
                f"{other.path} than in {first.path}; report them apart"
            )
    paths = [one.path.resolve() for one in sets]
    if len(set(paths)) != len(paths):
        raise UserError("each set must be another one, got the same path twice; draw a set with another seed")


def _differing(a: dict[str, Any] | None, b: dict[str, Any] | None) -> str:
    a, b = a or {}, b or {}
    return ", ".join(repr(key) for key in sorted({*a, *b}) if a.get(key) != b.get(key))


def _followed(
    sets: Sequence[SampleSet], name: str | None, extractor: FeatureExtractor
) -> tuple[SamplingProtocol | None, list[str]]:
    """The protocol that all sets follow, and cautions: one that was asked for must be followed to the letter."""
    said = {one.manifest.get("protocol") for one in sets}
    wanted = name or (next(iter(said)) if len(said) == 1 else None)
    if wanted is None:
        return None, []
    followed = find_protocol(wanted, paradigm=followed_paradigm(wanted, sets[0].manifest))
    for one in sets:
        for field, value, found in _demands(followed, one, extractor):
            if value != found:
                shown = [str(part) if len(str(part)) < 60 else "others" for part in (value, found)]
                if name is None:
                    return None, [f"Protocol: not {wanted}, since {field} is {shown[1]} in place of {shown[0]}."]
                raise UserError(
                    f"{one.path} must follow protocol {name!r} in {field}, {shown[0]}, got {shown[1]}; "
                    "draw the set by that protocol, or leave the protocol out"
                )
    silent = ", ".join(one.path.name for one in sets if not one.manifest)
    return followed, [f"Protocol: taken on trust, since the drawing of {silent} is not recorded."] if silent else []


def _demands(followed: SamplingProtocol, one: SampleSet, extractor: FeatureExtractor) -> Iterator[tuple[str, Any, Any]]:
    """(field, what the protocol asks for, what there is)."""
    yield "image shape", (followed.channels, followed.image_size, followed.image_size), one.shape
    yield "count", followed.count, one.count
    if one.labels is not None:
        yield "labels", followed.labels(), one.labels.tolist()
    if one.manifest:
        yield "protocol", followed.name, one.manifest.get("protocol")
        settings = one.manifest.get("settings", {})
        for key, value in followed.sampling.items():
            yield key, value, settings.get(key, value)
        yield "rounding", followed.rounding, settings.get("rounding", followed.rounding)
    if followed.extractor in ("inception", "dinov2"):
        yield "extractor", followed.extractor, extractor.name


def _neighbourhood(
    train: Path | str | None, test: Path | str | None, extractor: FeatureExtractor, channels: int
) -> Neighbourhood | None:
    images = [None if path is None else open_samples(path, channels=channels).batches() for path in (train, test)]
    return neighbourhood(images[0], extractor, test_images=images[1])


def _scored_after_rejection(
    found: Extracted, reference: Reference, labels: Tensor | None, logits: Tensor | None, share: float
) -> dict[str, Any]:
    assert labels is not None  # `judge` has looked at both
    assert logits is not None
    kept = keep_most_confident(logits, labels, share)
    return _scored(found[kept], reference, labels[kept], logits[kept])


def _scored(found: Extracted, reference: Reference, labels: Tensor | None, logits: Tensor | None) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankDeficientWarning)  # the report says it
        return score(found, reference, labels=labels, class_logits=logits, thorough=True).to_dict()


def _check_rejection(
    sets: Sequence[SampleSet], share: float, teller: FeatureExtractor | None, extractor: FeatureExtractor
) -> None:
    check_share(share)
    for one in sets:
        if one.labels is None:
            raise UserError(f"rejection sampling needs labels of the samples, got {one.path} without; leave it out")
    if teller is None:
        raise UserError(
            f"rejection sampling needs a classifier of the samples' classes, got {extractor.name!r} alone; give one"
        )


def _unsaid(
    file: ReferenceStatistics, sets: Sequence[SampleSet], teller: FeatureExtractor | None, extractor: FeatureExtractor
) -> Iterator[str]:
    if not file.provenance:
        yield UNKNOWN_ORIGIN
    if teller is None and any(one.labels is not None for one in sets):
        yield UNKNOWN_CLASSES.format(name=extractor.name)


def _rejection(share: float | None, kept: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    if share is None:
        return None
    return {"share": share, "samples": [one["samples"] for one in kept], "scores": values_of(kept)}


def _network(judge: FeatureExtractor) -> dict[str, Any]:
    return {"name": judge.name, "digest": judge.digest}


def _described(one: SampleSet) -> dict[str, Any]:
    about = {key: one.manifest[key] for key in ("seed", "settings", "versions") if key in one.manifest}
    return {"path": str(one.path), "samples": one.count, "fingerprint": one.fingerprint(), **about}


def _described_reference(file: ReferenceStatistics, path: Path) -> dict[str, Any]:
    return {
        "path": str(path),
        "digest": file.digest,
        "images": file.statistics.count,
        "provenance": None if file.provenance is None else asdict(file.provenance),
    }
