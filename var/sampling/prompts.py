"""The texts that users ask a pipeline to show, with one meaning in both paradigms, and the encoder that reads them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from var.errors import UserError
from var.names import received
from var.sampling.numbers import plain
from var.text import TextEncoder, TextFeatures, checked_texts, open_encoder
from var.text.encoders import checked_encoder, features_of
from var.typed import length

Prompt = str | Sequence[Any] | np.ndarray | None  # of str; said so, a check of types would read one, whichever
"""A text for all images, or one for each; None for no text."""


def count_prompts(prompt: Prompt) -> int | None:
    """For how many images there is a text; None for none, one for all images, and what is refused later."""
    texts = plain(prompt, "prompt")
    return length(texts) if isinstance(texts, Sequence) and not isinstance(texts, str | bytes) else None


class Reader:
    """The text encoder of a pipeline: which one it must be, and itself once it is opened.

    `given` is the encoder, its name and digest as the index of a saved pipeline has them, or None where there is none.
    """

    def __init__(self, given: Any = None) -> None:
        self._encoder: TextEncoder | None = None
        self._wanted: dict[str, str] | None = None
        if isinstance(given, Mapping):
            if given.keys() != {"name", "digest"} or not all(isinstance(each, str) for each in given.values()):
                raise UserError(f"text_encoder must have a name and a digest, got {received(given)}; save them again")
            self._wanted = dict(given)
        elif given is not None:
            self.take(given)

    @property
    def name(self) -> str:
        """Of the encoder; "" where it is not known."""
        return self._wanted["name"] if self._wanted else ""

    def settings(self) -> dict[str, Any]:
        """What a pipeline's index says of it: nothing where it is not known, as indexes of before."""
        return {"text_encoder": self._wanted} if self._wanted else {}

    def take(self, encoder: Any) -> None:
        """Read by `encoder` from now on; raises `UserError` for another one than the model was trained with."""
        encoder = checked_encoder(encoder)
        if self._wanted and encoder.digest != self._wanted["digest"]:
            raise UserError(
                f"the text encoder must be the one of the training, {self._wanted['name']!r} of digest "
                f"{self._wanted['digest']}, got {encoder.name!r} of {encoder.digest}; pass that one"
            )
        self._wanted = self._wanted or {"name": encoder.name, "digest": encoder.digest}
        self._encoder = encoder

    def encoder(self, device: torch.device | str) -> TextEncoder | None:
        """The encoder, opened on `device` if it is not yet; None where it is not known. Errors as for `take`."""
        if self._encoder is None and self._wanted:
            try:
                self.take(open_encoder(self.name, device=device))
            except UserError as error:
                raise UserError(f"prompts of this pipeline need its text encoder, but: {error}") from error
        return self._encoder

    def features(
        self, prompt: Prompt, count: int, device: torch.device | str, *, sequences: bool = False
    ) -> TextFeatures:
        """What the encoder makes of the texts of `count` images, each text read once."""
        texts = plain(prompt, "prompt")
        if (found := count_prompts(texts)) not in (None, count):
            raise UserError(f"expected one prompt or one for each of {count} images, got {received(found)}; match them")
        lines = checked_texts([texts] * count if isinstance(texts, str) else texts, "prompt")
        different = list(dict.fromkeys(lines))
        encoder = self.encoder(device)
        assert encoder is not None, "whoever asks has looked at the name"
        found = features_of(different, encoder, sequences=sequences)
        rows = torch.tensor([different.index(line) for line in lines])
        parts = (found.vectors, found.sequence, found.mask)
        return TextFeatures(*(None if part is None else part[rows] for part in parts))  # pyright: ignore[reportArgumentType]
