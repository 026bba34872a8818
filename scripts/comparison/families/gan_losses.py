"""The GAN on other losses, compared with it where they are named: `--models gan,gan-hinge,gan-wasserstein`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from comparison.families.gan import GANFamily
from comparison.families.model import ImageConfig


class _OtherLoss(GANFamily):
    named_only = True
    changes: ClassVar[Mapping[str, Any]]  # of the GAN's config

    def config(self, image: ImageConfig) -> ImageConfig:
        """That of the GAN, but for the loss."""
        return replace(super().config(image), **self.changes)


class HingeGAN(_OtherLoss):
    """Hinge loss (Lim and Ye 2017, arXiv 1705.02894)."""

    key, title, word, color = "gan-hinge", "Hinge GAN", "hinge GAN", "violet"
    changes: ClassVar[Mapping[str, Any]] = {"loss": "hinge"}


class WassersteinGAN(_OtherLoss):
    """Wasserstein distance with gradient penalty (Gulrajani et al. 2017, arXiv 1704.00028, whose weight is 10)."""

    key, title, word, color = "gan-wasserstein", "Wasserstein GAN", "Wasserstein GAN", "muted"
    changes: ClassVar[Mapping[str, Any]] = {"loss": "wasserstein", "penalty": 10.0}
