"""Every family of generative models: a file for each, and an entry in the table."""

from comparison.contenders import CONTENDERS, Contender
from comparison.families.flow import FlowFamily
from comparison.families.flow_matching import FlowMatching
from comparison.families.gan import GANFamily
from comparison.families.gan_losses import HingeGAN, WassersteinGAN
from comparison.families.latent import LatentDiffusion
from comparison.families.meanflow import MeanFlow
from comparison.families.pixels import PixelFamily
from comparison.families.raster import RasterContender
from comparison.families.vae import VAEFamily

_AUTOREGRESSION = (RasterContender(), PixelFamily())
_DIFFUSION = (FlowMatching(), MeanFlow(), LatentDiffusion())
_ONE_PASS = (VAEFamily(), GANFamily(), HingeGAN(), WassersteinGAN(), FlowFamily())

FAMILIES: dict[str, Contender] = {
    each.key: each for each in (*CONTENDERS.values(), *_AUTOREGRESSION, *_DIFFUSION, *_ONE_PASS)
}
"""By the name that `--models` and reports call them; without `--families`, those of `CONTENDERS` are compared."""
