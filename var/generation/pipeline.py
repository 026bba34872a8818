"""Both stages joined for users: labels in, images out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, Unpack

import torch
from torch import Tensor

from var.data.imagenet import CLASSES, imagenet_class_names
from var.errors import UserError
from var.generation.call import Call
from var.generation.draws import draws_of
from var.generation.editing import Edit, Edits
from var.generation.likelihood import Likelihoods
from var.generation.output import VAROutput
from var.generation.sampling_settings import SamplingKeywords, SamplingSettings
from var.generation.search import Search
from var.generation.verifiers import LIKELIHOOD
from var.hub.placement import DType, check_placement, chosen_dtype, chosen_place
from var.hub.remote import Source
from var.keywords import known_keywords
from var.original import load_original, published
from var.original.reading import Checkpoint
from var.sampling import labels
from var.sampling.guidance import Guidance
from var.sampling.labels import ClassLabels, Count
from var.sampling.numbers import check_switches
from var.sampling.prompts import Prompt
from var.sampling.reporting import Reporting
from var.sampling.streams import Generators, GivenSeeds
from var.sampling.vectors import Vectors
from var.scales import Side
from var.terms import Terms


class VARPipeline(Edits, Likelihoods):
    """Next-scale generation with a tokenizer and a transformer that was trained on its tokens.

    `class_names`, one per label (synonyms separated by commas), let calls name their classes. `text_encoder` is that of
    the texts it was trained with: an opened one, or its name and digest, by which it is opened when it is needed.
    `finer` is a second transformer, which draws the scales from `handover` on; see `collaborate`. `sampling` are the
    settings that calls take where they say nothing.
    """

    @classmethod
    @known_keywords
    @torch.inference_mode(False)
    def from_original(
        cls,
        vqvae: Checkpoint,
        transformer: Checkpoint,
        *,
        num_heads: int | None = None,
        normalize_codes: bool = False,
        sides: Sequence[Side] | None = None,
        dtype: DType = None,
        torch_dtype: DType = None,
        device: torch.device | str | None = None,
        progress: bool = False,
    ) -> Self:
        """The pipeline of two checkpoints of the official code: `.pth` or `.safetensors` files, or state dicts.

        Training checkpoints, which hold both models, may stand for either. All is read off the tensors but what they do
        not tell: `num_heads` of a transformer without L2-normalised attention, `normalize_codes` (the official
        `using_znorm`) and, in files that were stripped of their buffers, `sides`. Models of 1000 classes get the names
        of ImageNet's. Weights become `dtype` (default float32; "auto" leaves them as they are). State dicts on the meta
        device give a pipeline on the meta device. Raises `UserError` if anything is missing, unexpected, of another
        shape or kind, damaged, or not finite.
        """
        kind = torch.float32 if dtype is None and torch_dtype is None else chosen_dtype(dtype, torch_dtype)
        check_placement(device)
        models = load_original(
            vqvae,
            transformer,
            num_heads=num_heads,
            normalize_codes=normalize_codes,
            sides=sides,
            dtype=kind,
            progress=progress,
        )
        names = imagenet_class_names() if models[1].config.num_classes == CLASSES else None
        pipeline = cls(*models, class_names=names)
        pipeline.to(device=device)
        return pipeline

    @classmethod
    @known_keywords
    def from_pretrained(
        cls,
        path_or_id: Path | str,
        *,
        variant: str | None = None,
        dtype: DType = None,
        torch_dtype: DType = None,
        device: torch.device | str | None = None,
        device_map: str | None = None,
        **source: Unpack[Source],
    ) -> Self:
        """Load from a folder or the Hub, strictly; see `load_model`. `device_map` is "auto", "cuda" or "cpu".

        `variant` ("d16", "d20", "d24", "d30" or "d36") picks one of the models that the authors published, from their
        repository "FoundationVision/var" or from a folder with its files; it is converted once and kept beside the
        download. `progress` shows bars while that and downloads last.
        """
        kind, device = chosen_dtype(dtype, torch_dtype), chosen_place(device, device_map)
        if variant is None:
            published.refuse_without_variant(path_or_id)
            return super().from_pretrained(path_or_id, dtype=kind, device=device, **source)
        return published.load(cls, path_or_id, variant, dtype=kind, device=device, **source)

    @classmethod
    def collaborate(cls, large: "VARPipeline", small: "VARPipeline", handover: int | None = None) -> Self:
        """A pipeline in which `large` draws the first `handover` scales and `small` the rest (arXiv 2411.17787).

        By default it draws seven of ten, and as large a share of another number. Both are shown the same, and each is
        guided as it would be alone. It shares their weights, and is saved and loaded as one. Raises `UserError` for
        models of other tokens or conditions, and a handover beyond the scales.
        """
        for name, each in (("large", large), ("small", small)):
            if not isinstance(each, VARPipeline) or each.finer is not None:
                found = f"{type(each).__name__}{' of two' if isinstance(each, VARPipeline) else ''}"
                raise UserError(f"{name} must be a VARPipeline of one transformer, got a {found}; load one")
        large._check_alike(small, "small", "large")
        handover = round(0.7 * len(large._models()[1].scales)) if handover is None else handover
        own = {"class_names": large.class_names or small.class_names, "finer": small.transformer, "handover": handover}
        pipeline = cls(large.vqvae, large.transformer, **own, sampling=large.sampling)
        pipeline.terms = Terms.joined((large.terms, small.terms))
        pipeline._reader = large._reader if large._reader.name else small._reader
        return pipeline

    @torch.inference_mode(False)
    @torch.no_grad()
    def __call__(
        self,
        class_labels: ClassLabels = None,
        num_images: Count = None,
        *,
        prompt: Prompt = None,
        vectors: Vectors = None,
        guidance: Guidance | None = None,
        edit: Edit | None = None,
        sampling: SamplingSettings | None = None,
        generator: Generators = None,
        seeds: GivenSeeds = None,
        official_stream: bool = False,
        output_type: str = "pil",
        return_intermediates: bool = False,
        callback_on_step_end: Callable[[int, Tensor, Tensor], None] | None = None,
        progress: bool = True,
        candidates: Count = None,
        keep_scale: Count = None,
        verifier: Any = LIKELIHOOD,
        **keywords: Unpack[SamplingKeywords],
    ) -> VAROutput:
        """Generate images of what is asked for.

        `class_labels`: labels or names of classes, one for all images or one for each; "random" for a class drawn from
        each image's seed, None for the null label; or a `Condition`. `prompt`, a text for all or one for each, is for
        models trained on texts; `vectors`, (n, width) or one for all, for those and all others trained on vectors.
        How tokens are drawn is said by `sampling`, by its fields as keywords (see `SamplingSettings`), or both; without
        the first, the pipeline's `sampling` says the rest. An object `guidance` says all that guides. `edit` is what
        the methods `edit`, `variations` and `upscale` make.
        Randomness: one generator, a list with one for each image, or `seeds`; an image depends on its own seed only,
        not on the batch. For `official_stream` see `draws_of`; for `candidates`, `keep_scale` and `verifier` `Search`.
        `output_type`: "pil", "pt" (float NCHW in [0, 1]) or "np" (float NHWC in [0, 1]). `callback_on_step_end`
        receives the scale's index, its token map and the latent accumulated so far.
        Raises `UserError` for requests that make no sense, and where the models compute NaN or infinity.
        """
        vqvae, transformer = self._models()
        channels = vqvae.config.in_channels
        reporting = Reporting(channels, output_type, return_intermediates, callback_on_step_end, progress)
        check_switches(official_stream=official_stream)
        guidance, settings = self._settings_of_call(guidance, sampling, keywords)
        strengths = settings.guidance_scales(len(transformer.scales))
        edit = None if edit is None else Edit.fitting(edit, self.image_shape)
        search = Search.of(candidates, keep_scale, verifier, transformer.config, prompt, official=official_stream)
        count = labels.count_images(class_labels, num_images, seeds, vectors, prompt, **(edit.counts if edit else {}))
        random_classes = labels.asks_for_random(class_labels, self.class_names)
        vocabulary = transformer.config.vocabulary if official_stream else None
        draws, seeds = draws_of(
            count, generator, seeds, self.device, official=vocabulary, random_classes=random_classes
        )
        condition = self._condition(class_labels, prompt, vectors, count, seeds)
        if guidance.weaker is None and not condition.given.any():
            strengths = [1.0] * len(strengths)  # there is nothing to guide towards
        parts = edit.parts(vqvae) if edit else {}
        if edit and search:
            search.check_kept(edit.keep_scales, len(transformer.scales))
        call = Call(condition, seeds, draws, settings, strengths, reporting, search, **parts)
        return call.output(*self._runs(guidance.weaker), transformer.config.num_classes)
