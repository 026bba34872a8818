"""Texts as numbers: what a text is, the protocol of encoders, and the encoders that are opened by a name."""

from var.text.encoders import TextEncoder, TextFeatures
from var.text.lines import MOST_CHARACTERS, TextError, checked_texts, one_line
from var.text.opening import open_encoder

__all__ = [
    "MOST_CHARACTERS",
    "TextEncoder",
    "TextError",
    "TextFeatures",
    "checked_texts",
    "one_line",
    "open_encoder",
]
