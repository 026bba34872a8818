"""Whether sets are of one model, and follow the protocol that they or the user name."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from var.errors import UserError
from var.evaluation.features.extraction import FeatureExtractor
from var.evaluation.sets.overlap import check_apart
from var.evaluation.sets.protocols import SamplingProtocol, followed_paradigm
from var.evaluation.sets.protocols import protocol as find_protocol
from var.evaluation.sets.records import compared, differing
from var.evaluation.sets.samples import SampleSet, open_samples
from var.names import shown


def open_sets(places: Sequence[Path | str]) -> list[SampleSet]:
    """The sets at these places; raises `UserError`, before any work, unless they are of one model, with own seeds."""
    if isinstance(places, str | Path):
        raise UserError(f"samples are a list of places, got one, {str(places)!r:.100}; put it into a list")
    sets = [open_samples(place) for place in places]
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
        for mine, theirs in (_said(first, other), (first.settings, other.settings)):
            if mine != theirs and not (mine is None or theirs is None):
                raise UserError(
                    f"sets of one model may differ in their seeds only, got another {differing(mine, theirs)} in "
                    f"{other.path} than in {first.path}; report them apart"
                )
    check_apart(sets)
    return sets


def _said(first: SampleSet, other: SampleSet) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """What two sets say of their making; who says nothing was made in no way that is known."""
    found = [one.manifest.get("settings") for one in (first, other)]
    return (None, None) if found == [None, None] else (compared(found[0] or {}), compared(found[1] or {}))


def followed_protocol(
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
                parts = [str(part) if len(str(part)) < 60 else "others" for part in (value, found)]
                if name is None:
                    return None, [
                        f"Protocol: not {shown(wanted)}, since {field} is {shown(parts[1])} in place of {parts[0]}."
                    ]
                raise UserError(
                    f"{one.path} must follow protocol {name!r} in {field}, {parts[0]}, got {parts[1]}; "
                    "draw the set by that protocol, or leave the protocol out"
                )
    silent = ", ".join(shown(one.path.name) for one in sets if not one.manifest)
    return followed, [f"Protocol: taken on trust, since the drawing of {silent} is not recorded."] if silent else []


def _demands(followed: SamplingProtocol, one: SampleSet, extractor: FeatureExtractor) -> Iterator[tuple[str, Any, Any]]:
    """(field, what the protocol asks for, what there is)."""
    yield "image shape", (followed.channels, followed.image_size, followed.image_size), one.shape
    yield "count", followed.count, one.count
    if one.labels is not None:
        yield "labels", _wanted_labels(followed, one), one.labels.tolist()
    if one.manifest:
        yield "protocol", followed.name, one.manifest.get("protocol")
        settings = one.manifest.get("settings", {})
        for key, value in followed.sampling.items():
            yield key, value, settings.get(key, value)
        yield "rounding", followed.rounding, settings.get("rounding", followed.rounding)
    if followed.extractor in ("inception", "dinov2"):
        yield "extractor", followed.extractor, extractor.name


def _wanted_labels(followed: SamplingProtocol, one: SampleSet) -> list[int]:
    """The class of each image by the protocol: by its seed where that is recorded, else by its place."""
    seeds = [place if record is None or record.seed is None else record.seed for place, record in _placed(one)]
    return [seed % followed.count // followed.per_class for seed in seeds]


def _placed(one: SampleSet) -> Iterator[tuple[int, Any]]:
    return ((place, one.records[place] if one.records else None) for place in range(one.count))
