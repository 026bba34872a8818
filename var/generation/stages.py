"""The models of a pipeline, and what its calls prepare of them."""

from collections.abc import Sequence
from typing import Any, Self

import torch

from var.generation.autoguidance import Autoguided
from var.generation.collaboration import Collaborated, checked_finer
from var.generation.decoding import ImageDecoder
from var.generation.loop import Forward
from var.generation.prepared import PREPARING, Prepared
from var.generation.sampling_settings import SamplingSettings
from var.sampling import labels
from var.sampling.models import plain_model
from var.sampling.pipelines import ConditionedPipeline
from var.sampling.prompts import Reader
from var.sampling.record import fingerprint
from var.tokenizer import Tokenizer
from var.transformer.config import VARConfig, check_pair
from var.transformer.model import VAR


class StagedPipeline(ConditionedPipeline):
    """A tokenizer and a transformer, or two that take turns, as generation runs them."""

    parts = {"vqvae": Tokenizer, "transformer": VAR}  # noqa: RUF012 (read by the mixin, never changed)
    optional = {"finer": VAR}  # noqa: RUF012
    adapted = "transformer"
    _sampling_class = SamplingSettings

    def __init__(
        self,
        vqvae: Tokenizer,
        transformer: VAR,
        class_names: Sequence[str] | None = None,
        *,
        text_encoder: Any = None,  # a TextEncoder, or {"name": ..., "digest": ...}
        finer: VAR | None = None,
        handover: int | None = None,
        sampling: Any = None,  # SamplingSettings, or {"guidance_scale": ..., ...}
    ) -> None:
        self.vqvae, self.transformer = vqvae, transformer
        self.finer, self.handover = finer, handover
        _, model = self._models()
        self._taking_over()
        self.class_names = labels.checked_class_names(class_names, model.config.num_classes)
        self._reader = Reader(text_encoder)
        self.sampling = sampling
        for part in self.models().values():
            part.eval()
        self.compiled = False
        self._prepared: Prepared | None = None

    def settings(self) -> dict[str, Any]:
        """What is saved besides the models."""
        names = None if self.class_names is None else list(self.class_names)
        handover = {} if self.finer is None else {"handover": self.handover}
        return {"class_names": names, **super().settings(), **handover}

    def _check_sampling(self, settings: SamplingSettings) -> None:
        settings.guidance_scales(len(self._models()[1].scales))

    def label_of(self, name: str | int) -> int:
        """Label of the class with this name; see `var.sampling.labels.label_of`."""
        return labels.label_of(name, self._models()[1].config.num_classes, self.class_names)

    @property
    def device(self) -> torch.device:
        """Where the transformer lies."""
        return self._models()[1].position.device

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        config = self._models()[0].config
        return config.in_channels, *config.image_size

    @property
    def _takes(self) -> VARConfig:
        return self._models()[1].config

    def _facts(self) -> dict[str, Any]:
        vqvae, transformer = self._models()
        config = transformer.config
        tokens = {"sides": config.schedule.maps, "vocabulary": config.vocabulary, "image_size": vqvae.config.image_size}
        passes = config.passes or (1,) * len(config.schedule)  # one each, if it says none
        tokens |= {"passes": passes, "order": config.order, "tokenizer": fingerprint(vqvae.accumulator())}
        return {**super()._facts(), **tokens}

    def compile(self) -> Self:
        """Prepare for many calls, at the cost of memory and of the first call; returns the pipeline.

        On a CPU the transformer's weights are copied into the order of its matrix kernels. On CUDA the kernels of every
        scale and of the decoder are recorded as graphs, anew for another batch size. Tokens stay those of the
        uncompiled pipeline, up to the rounding of float32.
        """
        self.compiled = True
        self._prepared = None
        return self

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles hold: all but what the first call makes anew."""
        return {**self.__dict__, "_prepared": None}

    def _models(self) -> tuple[Tokenizer, VAR]:
        """The two models as they are now, without what compilation or distributed training wrapped around them."""
        vqvae = plain_model(self.vqvae, Tokenizer, "vqvae")
        transformer = plain_model(self.transformer, VAR, "transformer")
        check_pair(vqvae.config, transformer.config)
        return vqvae, transformer

    def _taking_over(self) -> VAR | None:
        """The transformer of the finer scales as it is now; None where one draws all."""
        return checked_finer(self.finer, self.handover, self._models()[1])

    def _prepare(self) -> Prepared:
        """What generation runs with, made anew when the weights have changed."""
        models, prepared = (*self._models(), self._taking_over()), self._prepared
        if prepared is None or not prepared.fits(*models):
            with PREPARING:  # the threads that waited take what the first one made
                prepared = self._prepared
                if prepared is None or not prepared.fits(*models):
                    self._prepared = prepared = None  # frees the old one first
                    self._prepared = prepared = Prepared.of(*models, compiled=self.compiled)
        return prepared

    def _runs(self, weaker: "StagedPipeline | None") -> tuple[Forward, ImageDecoder]:
        """What draws token maps, guided by `weaker` where there is one, and what decodes them."""
        engine, decode, finer = self._prepare()
        forward = engine if finer is None else Collaborated(engine, finer, self.handover or 0)
        return forward if weaker is None else Autoguided(forward, weaker._runs(None)[0]), decode
