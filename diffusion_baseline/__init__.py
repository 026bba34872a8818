"""The diffusion baseline: DDPM and DDIM with classifier-free guidance, judged by the same evaluation as VAR."""

from typing import TYPE_CHECKING

from var.lazy import lazy_names

if TYPE_CHECKING:
    from diffusion_baseline.cascade import CascadePipeline as CascadePipeline
    from diffusion_baseline.classifier.model import NoisyClassifier as NoisyClassifier
    from diffusion_baseline.pipeline import DiffusionPipeline as DiffusionPipeline
    from diffusion_baseline.unet import UNet as UNet
    from diffusion_baseline.unet import UNetConfig as UNetConfig

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "diffusion_baseline.cascade": "CascadePipeline",
        "diffusion_baseline.classifier.model": "NoisyClassifier",
        "diffusion_baseline.pipeline": "DiffusionPipeline",
        "diffusion_baseline.unet": "UNet UNetConfig",
    },
)
