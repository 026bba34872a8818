"""What a pipeline prepares of its models for all its calls."""

import threading
from typing import NamedTuple, Self

from var.generation.decoding import ImageDecoder
from var.generation.engine import Engine
from var.tokenizer import Tokenizer
from var.transformer.model import VAR

PREPARING = threading.Lock()
"""Held while anything is prepared, which takes memory twice if two threads do it at once."""


class Prepared(NamedTuple):
    """An engine and a decoder; a pipeline's copy goes without: packed weights can be neither copied nor saved."""

    engine: Engine
    decode: ImageDecoder

    @classmethod
    def of(cls, tokenizer: Tokenizer, model: VAR, *, compiled: bool) -> Self:
        """What calls with these models run with; see `VARPipeline.compile` for `compiled`."""
        cuda = model.position.device.type == "cuda"
        decoder = ImageDecoder(tokenizer)
        return cls(Engine(tokenizer, model, pack=compiled and not cuda, graphs=compiled and cuda), decoder)

    def fits(self, tokenizer: Tokenizer, model: VAR) -> bool:
        """Whether it was prepared from these models and their weights as they now are, whoever wrote to them."""
        return self.engine.fits(tokenizer, model) and self.decode.fits(tokenizer)
