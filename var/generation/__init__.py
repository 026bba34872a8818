"""Both stages joined: sampling token maps scale by scale and decoding them.

Names are loaded when they are first used: command lines read `var.generation.sampling_settings` before torch is needed.
"""

from typing import TYPE_CHECKING

from var.lazy import lazy_names

if TYPE_CHECKING:
    from var.generation.output import VAROutput as VAROutput
    from var.generation.pipeline import VARPipeline as VARPipeline

__getattr__, __dir__, __all__ = lazy_names(
    __name__, {"var.generation.output": "VAROutput", "var.generation.pipeline": "VARPipeline"}
)
