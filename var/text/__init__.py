"""Texts as numbers: what a text is, the protocol of encoders, and the encoders that are opened by a name.

Names are loaded when they are first used: commands look at texts before torch is needed.
"""

from typing import TYPE_CHECKING

from var.lazy import lazy_names

if TYPE_CHECKING:
    from var.text.encoders import TextEncoder as TextEncoder
    from var.text.encoders import TextFeatures as TextFeatures
    from var.text.lines import checked_texts as checked_texts
    from var.text.opening import open_encoder as open_encoder

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "var.text.encoders": "TextEncoder TextFeatures",
        "var.text.lines": "checked_texts",
        "var.text.opening": "open_encoder",
    },
)
