"""Training and test images beside samples: where copies are looked for, and whether they are what they are called."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from var.errors import UserError
from var.evaluation.features.extraction import FeatureExtractor
from var.evaluation.scores import Neighbourhood, neighbourhood
from var.evaluation.sets.overlap import Pictures, Watched, check_places
from var.evaluation.sets.samples import SampleSet, open_samples
from var.names import shown


@dataclass(frozen=True, kw_only=True, eq=False)
class RealImages:
    """The images that a model was trained on, and others that it was not."""

    train: SampleSet | None
    test: SampleSet | None
    _seen: dict[str, Pictures] = field(default_factory=dict)

    @classmethod
    def at(cls, train: Path | str | None, test: Path | str | None, samples: Sequence[SampleSet]) -> "RealImages":
        """The images at two places, of the samples' shape; raises `UserError`, before any work, for others."""
        if train is None and test is not None:
            raise UserError("test images are compared with training images, got none; give both or neither")
        channels = samples[0].shape[0]
        found = [None if path is None else open_samples(path, channels=channels) for path in (train, test)]
        for one in found:
            if one is not None and one.shape != samples[0].shape:
                raise UserError(
                    f"images among which copies are looked for must have the samples' shape {samples[0].shape} "
                    f"(channels, height, width), got {one.shape} in {one.path}; resize them"
                )
        if found[0] is not None and found[1] is not None:
            check_places(found[0].path, found[1].path, "test images must be others than the training images")
        return cls(train=found[0], test=found[1])

    @property
    def sets(self) -> list[SampleSet]:
        """Those that there are."""
        return [one for one in (self.train, self.test) if one is not None]

    def neighbourhood(self, extractor: FeatureExtractor) -> tuple[Neighbourhood | None, list[str]]:
        """Where near copies are looked for, and the caution on test images that are training images.

        Raises `UserError` if all of them are.
        """
        watched = {one: Watched(one.batches()) for one in self.sets}
        near = neighbourhood(
            None if self.train is None else watched[self.train],
            extractor,
            test_images=None if self.test is None else watched[self.test],
        )
        if self.train is None:
            return near, []
        self._seen["train"] = watched[self.train].pictures
        if self.test is None:
            return near, []
        count = int(np.isin(watched[self.test].pictures, self._seen["train"]).sum())
        if count == self.test.count:
            raise UserError(
                f"test images must be others than the training images, got all {count} of {self.test.path} in "
                f"{self.train.path} too; give images that nobody trained on"
            )
        return near, [f"Test images: {count} of {self.test.count} are training images too."] if count else []

    def copied(self, samples: Sequence[SampleSet], seen: Sequence[Pictures]) -> list[str]:
        """Cautions on samples that are training images, pixel by pixel."""
        train = self._seen.get("train")
        counts = [0 if train is None else int(np.isin(pictures, train).sum()) for pictures in seen]
        return [
            f"Copies: {count} of {one.count} samples in {shown(one.path)} are training images, pixel by pixel."
            for one, count in zip(samples, counts, strict=True)
            if count
        ]
