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
    """Engines and a decoder; a pipeline's copy goes without: packed weights can be neither copied nor saved."""

    engine: Engine
    decode: ImageDecoder
    finer: Engine | None  # of the model that takes over

    @classmethod
    def of(cls, tokenizer: Tokenizer, model: VAR, finer: VAR | None, *, compiled: bool) -> Self:
        """What calls with these models run with; see `VARPipeline.compile` for `compiled`."""
        cuda = model.position.device.type == "cuda"
        decoder = ImageDecoder(tokenizer, graphs=compiled and cuda)
        engines = [
            None if each is None else Engine(tokenizer, each, pack=compiled and not cuda, graphs=compiled and cuda)
            for each in (model, finer)
        ]
        assert engines[0] is not None
        return cls(engines[0], decoder, engines[1])

    def fits(self, tokenizer: Tokenizer, model: VAR, finer: VAR | None) -> bool:
        """Whether it was prepared from these models and their weights as they now are, whoever wrote to them."""
        same = (finer is None) == (self.finer is None)
        for engine, each in ((self.engine, model), (self.finer, finer)):
            same = same and (engine is None or each is None or engine.fits(tokenizer, each))
        return same and self.decode.fits(tokenizer)
