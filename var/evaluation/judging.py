"""From sets of samples on disk to the report on a model: what `var evaluate` does."""

import platform
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from var.errors import UserError
from var.evaluation.features.catalog import distance_name
from var.evaluation.features.extraction import FeatureExtractor
from var.evaluation.metrics.frechet import RankDeficientWarning, frechet_distance
from var.evaluation.metrics.statistics import Statistics
from var.evaluation.report.cautions import UNKNOWN_ORIGIN, cautions
from var.evaluation.report.score_report import ScoreReport, check_name, values_of
from var.evaluation.scores import Extracted, Reference, extract_samples, score
from var.evaluation.sets.class_labels import tells_classes
from var.evaluation.sets.class_predictions import choose_classifier, class_logits
from var.evaluation.sets.following import followed_protocol, open_sets
from var.evaluation.sets.overlap import Pictures, Watched, shared_pictures
from var.evaluation.sets.real_images import RealImages
from var.evaluation.sets.reference_statistics import ReferenceStatistics
from var.evaluation.sets.rejection import check_share, keep_most_confident
from var.evaluation.sets.samples import SampleSet
from var.evaluation.table import TABLE
from var.evaluation.text_judging import TextEvidence, TextJudge
from var.names import shown
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
    captions: str | None = None,
    device: str | None = None,
    progress: bool = True,
) -> ScoreReport:
    """The report on a model from sets of its samples, one a generation seed, against the statistics in `reference`.

    `protocol` is checked against what the sets say of themselves; without it theirs is taken, if they agree. `train`
    and `test` are folders of real images, for copies. `keep_share` adds the scores of rejection sampling, apart.
    `classifier` tells classes where the extractor does not. Networks that learn on `device` from the data called
    `captions` tell whether samples show the prompts that they were drawn for. Raises `UserError`, which names the
    field, for sets, reference, extractor and protocol that do not fit each other, and for images that would count
    twice.
    """
    check_name(name)
    sets = open_sets(samples)
    followed, notes = followed_protocol(sets, protocol, extractor)
    teller, sets, unclear = choose_classifier(sets, extractor, classifier)
    if keep_share is not None:
        _check_rejection(sets, keep_share, teller, extractor, unclear)
    file = ReferenceStatistics.load(reference)
    file.check_samples(sets[0], extractor)
    real_images = RealImages.at(train, test, sets)
    # One image tells, before thousands are looked at, whether the network fits.
    file.check_dimensions(extractor(next(sets[0].batches(1))).features.shape[1], extractor)
    words = None if captions is None else _text_judge(captions, sets, device, progress)
    near, copies = real_images.neighbourhood(extractor)
    real = file.reference(extractor, neighbourhood=near, progress=progress)
    results, kept, seen, shared = _judged(sets, real, extractor, teller, words, keep_share, progress)
    twice = [*shared, *copies, *real_images.copied(sets, seen), *_same(file, sets, real, results)]
    ignored = [note for one in [*sets, *real_images.sets] for note in one.notes]
    return score_report(
        name or sets[0].path.stem or "samples",
        extractor,
        real,
        [(_described(one), one.labels) for one in sets],
        results,
        classifier=None if classifier is None else _network(classifier),
        reference=_described_reference(file, Path(reference)),
        protocol=None if followed is None else followed.to_dict(),
        rejection=_rejection(keep_share, kept),
        terms=_terms(file, sets),
        warnings=[*([] if file.provenance else [UNKNOWN_ORIGIN]), *unclear, *_worth(words), *notes, *twice, *ignored],
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
        warnings=[*cautions(counted, real.statistics, _count(real)), *warnings],
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


def _judged(
    sets: Sequence[SampleSet],
    real: Reference,
    extractor: FeatureExtractor,
    teller: FeatureExtractor | None,
    words: TextJudge | None,
    keep_share: float | None,
    progress: bool,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[Pictures], list[str]]:
    """Scores of each set and of what rejection keeps of it, its pictures, and cautions on those that come twice."""
    results, kept, seen, shared = [], [], [], []
    for one in sets:
        batches = Watched(one.batches())
        found = extract_samples(batches, real, extractor, progress=progress, total=one.count)
        seen.append(batches.pictures)
        shared = shared_pictures(sets[: len(seen)], seen)  # refused now, not after the other sets
        logits = class_logits(one, teller, extractor, found.features, progress=progress)
        text = None if words is None else words.judge(one.batches(), one.prompts or [])
        results.append(_scored(found, real, one.labels, logits, text))
        if keep_share is not None:
            kept.append(_scored_after_rejection(found, real, one.labels, logits, keep_share))
    return results, kept, seen, shared


def _scored_after_rejection(
    found: Extracted, reference: Reference, labels: Tensor | None, logits: Tensor | None, share: float
) -> dict[str, Any]:
    assert labels is not None  # `judge` has looked at both
    assert logits is not None
    kept = keep_most_confident(logits, labels, share)
    return _scored(found[kept], reference, labels[kept], logits[kept])


def _scored(
    found: Extracted,
    reference: Reference,
    labels: Tensor | None,
    logits: Tensor | None,
    text: TextEvidence | None = None,
) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RankDeficientWarning)  # the report says it
        return score(found, reference, labels=labels, class_logits=logits, text=text, thorough=True).to_dict()


def _text_judge(captions: str, sets: Sequence[SampleSet], device: str | None, progress: bool) -> TextJudge:
    for one in sets:
        if one.prompts is None:
            raise UserError(
                f"words are judged by the prompts that images record, got {one.path} with images that record none; "
                "draw them with --prompt or --prompts, or leave out --captions"
            )
    return TextJudge.opened(captions, sets[0].shape, device=device, progress=progress)


def _check_rejection(
    sets: Sequence[SampleSet],
    share: float,
    teller: FeatureExtractor | None,
    extractor: FeatureExtractor,
    unclear: Sequence[str],
) -> None:
    check_share(share)
    if teller is None and any(map(tells_classes, sets)):
        raise UserError(
            f"rejection sampling needs a classifier of the samples' classes, got {extractor.name!r} alone; give one"
        )
    for one in sets:
        if one.labels is None:
            reason = f" ({unclear[0]})" if unclear else ""
            raise UserError(
                f"rejection sampling needs labels of the samples, got {one.path} without{reason}; leave it out"
            )


def _same(
    file: ReferenceStatistics, sets: Sequence[SampleSet], real: Reference, results: Sequence[dict[str, Any]]
) -> Iterator[str]:
    """Cautions on samples that are the real images themselves."""
    origin = None if file.provenance is None else file.provenance.fingerprint
    for one, scores in zip(sets, results, strict=True):
        # Sums in another order move the last digits.
        if one.fingerprint() == origin or scores["fd"] <= 1e-8 * float(real.statistics.cov.trace()):
            yield f"Same images: {shown(one.path)} holds those of the reference; its scores say nothing of a model."


def _worth(words: TextJudge | None) -> Iterator[str]:
    """What those who judge words say of real images, beside which the scores of samples must be read."""
    if words is not None and (real := words.worth) is not None:
        told = [
            (row.title.strip(), row.find(SimpleNamespace(text=real)))
            for row in TABLE
            if "text" in row.needs and row.find
        ]
        said = ", ".join(f"{title} {value:.3f}" for title, value in told if value is not None)
        yield f"Words: real held-out images and their captions score {said}."


def _count(real: Reference) -> int | None:
    return None if real.features is None else len(real.features)


def _rejection(share: float | None, kept: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    if share is None:
        return None
    return {"share": share, "samples": [one["samples"] for one in kept], "scores": values_of(kept)}


def _terms(file: ReferenceStatistics, sets: Sequence[SampleSet]) -> list[str]:
    """On which terms the images may be passed on, of which it is known."""
    named = {"the reference": file.terms, **{f"the samples in {shown(one.path)}": one.terms for one in sets}}
    named |= {f"what the model of {shown(one.path)} was trained on": one.model_terms for one in sets}
    return [f"Terms of {name}: {terms}" for name, terms in named.items() if terms.said()]


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
