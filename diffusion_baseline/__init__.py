"""The diffusion baseline: DDPM and DDIM with classifier-free guidance, judged by the same evaluation as VAR."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusion_baseline.pipeline import DiffusionPipeline
    from diffusion_baseline.unet import UNet, UNetConfig

__all__ = ["DiffusionPipeline", "UNet", "UNetConfig"]

# Public name -> the module that owns it; loaded on first use (PEP 562), so that importing the package costs nothing.
_OWNERS = {
    "DiffusionPipeline": "diffusion_baseline.pipeline",
    "UNet": "diffusion_baseline.unet",
    "UNetConfig": "diffusion_baseline.unet",
}


def __getattr__(name: str):
    """Load a public name when it is first asked for."""
    if name not in _OWNERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_OWNERS[name]), name)


def __dir__() -> list[str]:
    """List the public names whether loaded or not."""
    return sorted({*globals(), *__all__})
