"""What pipelines of both paradigms share: how they are told what to show."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch

from var.conditions import Condition
from var.errors import UserError
from var.names import received
from var.quantities import count
from var.sampling.adapters import Adaptable
from var.sampling.conditions import resolve_condition
from var.sampling.guidance import Guidance, check_same
from var.sampling.labels import ClassLabels
from var.sampling.numbers import updated
from var.sampling.prompts import Prompt, Reader
from var.sampling.recommended import beside, opened
from var.sampling.vectors import Vectors
from var.text import TextEncoder


class Takes(Protocol):
    """The config of a model that is told what to show."""

    @property
    def num_classes(self) -> int:
        """How many classes; 0 for none."""
        ...

    @property
    def vector_width(self) -> int:
        """Of the vectors; 0 for none."""
        ...

    @property
    def sequence_width(self) -> int:
        """Of the sequences; 0 for none."""
        ...


class ConditionedPipeline(Adaptable):
    """A pipeline whose model is told what to show, by classes, by vectors, and by texts where it has an encoder.

    The constructor makes the `_reader`, of its argument `text_encoder`, and then sets `sampling`.
    """

    class_names: tuple[str, ...] | None
    _reader: Reader
    _sampling_class: ClassVar[type[Any]]
    """The settings of a call."""
    _noisiest: ClassVar[float | None] = None
    """The noise level at which images begin; None where they do not come out of noise."""

    def __call__(self, class_labels: ClassLabels = None, **call: Any) -> Any:
        """Images of what is asked for; see the pipelines of both paradigms."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Where the model lies."""
        raise NotImplementedError

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        raise NotImplementedError

    @property
    def _takes(self) -> Takes:
        """The config of the model that is told what to show."""
        raise NotImplementedError

    def _shows(self) -> list[str]:
        """Size of the images, and what they may be asked to show."""
        channels, height, width = self.image_shape
        takes, told = self._takes, [f"{height}x{width} images of {count(channels, 'channel')}"]
        told += [count(takes.num_classes, "class", "classes")] if takes.num_classes else []
        if self._reader.name:
            return [*told, f"prompts read by {self._reader.name}"]
        return [*told, f"vectors of width {takes.vector_width}"] if takes.vector_width else told

    @property
    def _asked(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """What the model's page shows that a call asks for: two images of it."""
        if self._reader.name:
            return 'prompt=["a text like those of the training"] * 2'
        labels = ["class_labels=[0, 1]"] if self._takes.num_classes else []
        width = self._takes.vector_width
        return ", ".join([*labels, *([f"vectors=[[0.0] * {width}] * 2"] if width else [])]) or "num_images=2"

    @property
    def text_encoder(self) -> TextEncoder | None:
        """What reads prompts, opened when it is first needed; None for a model that was trained without one.

        It may be set, to one that is open already or to any object of the protocol. Raises `UserError` if it cannot be
        opened, or is another one than that of the training, and for a model that takes no texts.
        """
        return self._reader.encoder(self.device)

    @text_encoder.setter
    def text_encoder(self, encoder: Any) -> None:
        if not (self._takes.vector_width or self._takes.sequence_width):
            raise UserError("the model takes no texts, got a text encoder; use a model that was trained on some")
        self._reader.take(encoder)

    @property
    def sampling(self) -> Any:
        """The settings that calls take where they say nothing, and that are saved; None for the package's defaults.

        They may be set, as such or as a mapping of their fields. Raises `UserError` for what no call could take.
        """
        return self._sampling

    @sampling.setter
    def sampling(self, recommended: Any) -> None:
        recommended = opened(recommended, self._sampling_class)
        if recommended is not None:
            self._check_sampling(recommended)
        self._sampling = recommended

    def _check_sampling(self, settings: Any) -> None:
        """Raise `UserError` for settings that do not fit the model."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """The encoder's name and digest, and the settings that are recommended, where there are such."""
        return {**self._reader.settings(), **({} if self.sampling is None else {"sampling": self.sampling.keywords()})}

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that make another pipeline of the same models; what is only recommended does not."""
        return {name: value for name, value in self.settings().items() if name != "sampling"}

    def _facts(self) -> dict[str, Any]:
        """What pipelines must have in common so that their predictions can be mixed; None where one does not know."""
        takes = self._takes
        return {
            "num_classes": takes.num_classes,
            "class_names": self.class_names,
            "vector_width": takes.vector_width,
            "sequence_width": takes.sequence_width,
            "text_encoder": self.settings().get("text_encoder"),
            "device": str(self.device),
        }

    def _settings_of_call(
        self, guidance: Guidance | None, sampling: Any, keywords: Mapping[str, Any]
    ) -> tuple[Guidance, Any]:
        """The guidance and the settings of a call: `sampling`, or else what is recommended, but for what it says.

        Where an object says the scale of guidance, the schedule that is recommended for another one does not count.
        Raises `UserError` for what contradicts itself or does not fit this pipeline.
        """
        guidance = Guidance() if guidance is None else guidance
        if not isinstance(guidance, Guidance):
            raise UserError(f"guidance must be a Guidance, got {received(guidance)}; a number is guidance_scale")
        if self._noisiest is None and (guidance.classifier, guidance.classifier_scale) != (None, None):
            raise UserError("a classifier guides images that come out of noise, got one for others; leave it out")
        if guidance.weaker is not None:
            self._check_alike(guidance.weaker)
        said = guidance.joined(keywords, self._noisiest)
        if sampling is None:
            sampling = beside(self.sampling, said, *["guidance_schedule"] * (guidance.scale is not None))
        return guidance, updated(sampling, self._sampling_class, said, type(self).__call__)

    def _check_alike(self, given: Any, name: str = "weaker", other: str = "what it guides") -> None:
        """Raise `UserError` unless what `given` predicts can stand beside what this pipeline does."""
        if not isinstance(given, ConditionedPipeline) or given.parts != self.parts:
            kind = type(self).__name__
            raise UserError(f"{name} must be a {kind}, as {other}, got {type(given).__name__}; load one")
        check_same(name, given._facts(), self._facts(), other)

    def _condition(
        self,
        class_labels: ClassLabels,
        prompt: Prompt,
        vectors: Vectors,
        count: int,
        seeds: Sequence[int],
    ) -> Condition:
        """What `count` images are asked to show, see `resolve_condition`."""
        takes = self._takes
        return resolve_condition(
            class_labels,
            count,
            takes.num_classes,
            seeds,
            self.class_names,
            vectors=vectors,
            vector_width=takes.vector_width,
            sequence_width=takes.sequence_width,
            prompt=prompt,
            reader=self._reader,
            device=self.device,
        )
