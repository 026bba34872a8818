"""Whether samples show what they were asked for in words: judges that learn from captioned real images alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from var.data import open_data
from var.data.base import ImageData, unwrapped
from var.data.texts import check_captions, different_captions
from var.data.vectors import WithVectors
from var.errors import UserError
from var.evaluation.features.attributes import AttributeNetwork, train_attributes
from var.evaluation.features.extraction import Images, uint8_batches
from var.evaluation.features.image_text import ImageTextNetwork, train_image_text
from var.evaluation.metrics.text_alignment import attributes_as_asked, retrieval
from var.images import to_uint8
from var.text import open_encoder

HELD_OUT = 1000
"""Real images by which the judges are judged themselves."""

Encode = Callable[[Sequence[str]], Float[Tensor, "n width"]]
"""Vectors of texts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TextEvidence:
    """What the judges say of samples and their prompts; None where the data know no attributes, or none was asked."""

    right: Mapping[str, Bool[Tensor, " n"]] | None  # by attribute, which samples are as asked
    retrieval: float | None  # R@1 among 32 of the prompts


@dataclass(frozen=True, kw_only=True, eq=False)
class TextJudge:
    """Both networks, trained on captioned real images; no generator has a say in them."""

    image_text: ImageTextNetwork
    encode: Encode
    attributes: AttributeNetwork | None  # None for data that do not tell attributes
    words_in: Callable[[str], Mapping[str, str] | None] | None
    worth: TextEvidence | None = None  # what it says of real images that it did not learn from, and their captions

    @classmethod
    def trained(
        cls, data: ImageData, encode: Encode, *, seed: int = 0, device: str | None = None, progress: bool = True
    ) -> "TextJudge":
        """The judge that learns from `data`, which must have captions; `encode` makes vectors of texts.

        Raises `UserError` for data without captions.
        """
        texts, rows = different_captions(data)
        options = {"seed": seed, "device": device, "progress": progress}
        words_in = getattr(unwrapped(data), "words_in", None)
        return cls(
            image_text=train_image_text(WithVectors(data, encode(texts), rows=rows), **options),
            encode=encode,
            attributes=None if words_in is None else train_attributes(unwrapped(data), **options),
            words_in=words_in,
        )

    @classmethod
    def opened(cls, spec: str, shape: tuple[int, int, int], *, device: str | None, progress: bool) -> "TextJudge":
        """The judge that learns from the training images of the data called `spec`, made (channels, height, width).

        Texts are read by MiniLM; the extra `text` brings it. `worth` is found on the test images. Raises `UserError`
        for data without captions or without test images.
        """
        how = {"size": shape[1:], "channels": shape[0], "captions": True}
        train, test = (open_data(spec, split=split, **how) for split in ("train", "test"))
        encoder = open_encoder("minilm", device=device)
        judge = cls.trained(train, lambda texts: encoder(texts).vectors, device=device, progress=progress)
        return replace(judge, worth=judge.of_real(test))

    def judge(self, samples: Images, prompts: Sequence[str]) -> TextEvidence:
        """What the networks say of uint8 NCHW `samples`, each of which was asked for by its prompt.

        Raises `UserError` for another number of prompts than of samples.
        """
        looks, found = [], {} if self.attributes is None else {name: [] for name in self.attributes.words}
        for batch in uint8_batches(samples, name="samples"):
            looks.append(self.image_text.look(batch))
            for name, words in ({} if self.attributes is None else self.attributes.read(batch)).items():
                found[name] += words
        if sum(map(len, looks)) != len(prompts):
            raise UserError(
                f"each sample needs the prompt that it was drawn for, got {len(prompts)} prompts for "
                f"{sum(map(len, looks))} samples; match them"
            )
        return TextEvidence(
            right=self._right(found, prompts), retrieval=self._retrieval(torch.cat(looks), list(prompts))
        )

    def likeness(self, images: UInt8[Tensor, "n c h w"], prompts: Sequence[str]) -> Float[Tensor, " n"]:
        """Cosine of each image of 0 to 255 and its prompt in the space that both have in common."""
        with torch.inference_mode():
            texts = self.image_text.texts(self.encode(list(prompts)).to(self.image_text.sharpness.device)).cpu()
        return (self.image_text.look(images) * texts).sum(dim=1)

    def _right(self, found: Mapping[str, Sequence[str]], prompts: Sequence[str]) -> Mapping[str, Tensor] | None:
        if self.words_in is None:
            return None
        asked = [self.words_in(prompt) for prompt in prompts]
        if any(each is None for each in asked):
            return None  # in other words than those of the data
        return attributes_as_asked(found, [each or {} for each in asked])

    def _retrieval(self, looks: Tensor, prompts: list[str]) -> float | None:
        places = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompts))}
        with torch.inference_mode():
            texts = self.image_text.texts(self.encode(list(places)).to(self.image_text.sharpness.device)).cpu()
        return retrieval(looks, texts, torch.tensor([places[prompt] for prompt in prompts]))

    def of_real(self, data: ImageData, count: int = HELD_OUT) -> TextEvidence:
        """What the judge says of real images of `data` and their captions, held out of its training: its own worth."""
        # Data lie class by class: the first ones alone would be of few classes, whose captions are the most alike.
        places = torch.linspace(0, len(data) - 1, min(count, len(data))).long().tolist()
        check_captions(data, type(data).__name__)
        captions: Any = getattr(data, "captions", None)
        return self.judge(
            to_uint8(torch.stack([data.load(place) for place in places])), [captions[place] for place in places]
        )
