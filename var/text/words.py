"""A second label: captions that are one of a few words, such as a style, each with a vector of its own."""

import hashlib
from collections.abc import Sequence

import torch
import torch.nn.functional as F

from var.errors import UserError, chosen
from var.text.encoders import TextFeatures
from var.text.lines import checked_texts, one_line

WORDS = "words:"
"""Begins the name of such an encoder: "words:openmoji,noto"."""


class WordEncoder:
    """Makes each of the words in its `name` a vector of its own, at right angles to those of all others.

    A model that is linear in them has an embedding for each word, which it adds to that of the class: any word goes
    with any class. Raises `UserError` for a name with fewer than two words, or with one that is there twice.
    """

    def __init__(self, name: str) -> None:
        words = [" ".join(word.split()) for word in name.removeprefix(WORDS).split(",")]
        if len(words) < 2 or len(set(words)) < len(words) or not all(words):
            raise UserError(f"the words of a label are two or more different ones, got {name!r:.100}; write {WORDS}a,b")
        self._places = {one_line(word): place for place, word in enumerate(words)}
        self.name, self.width, self.sequence_width = WORDS + ",".join(words), len(words), 0
        self.digest = hashlib.sha256(self.name.encode()).hexdigest()[:32]

    def check(self, text: str) -> None:
        """Raise `UserError` for a text that is none of the words."""
        chosen(one_line(text), self._places, "word of the second label")

    def __call__(self, texts: Sequence[str], *, sequences: bool = False) -> TextFeatures:
        """The vectors of `texts`, each of which must be one of the words; there are no `sequences`."""
        places = [chosen(text, self._places, "word of the second label") for text in checked_texts(texts, "texts")]
        vectors = F.one_hot(torch.tensor(places, dtype=torch.int64), self.width)
        return TextFeatures(self.width**0.5 * vectors.to(torch.float32))
