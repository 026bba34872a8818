"""How an autoencoder begins: what it is shown reaches its latent, its codes and its reconstruction undiminished."""

from collections.abc import Iterable

from torch import nn

from var.autoencoder.networks import AttentionBlock, ResidualBlock


def initialize(network: nn.Module, phis: Iterable[nn.Module], *, zero_init: bool) -> None:
    """Draw the weights of every convolution in `network`, from the global stream.

    Convolutions keep the variance of their input (He et al. 2015, arXiv 1502.01852, Eq. 10 without the rectifier's
    factor) and begin without bias. The stock initialisation divides it by 3, and adds biases that do not shrink: where
    nothing is normalised, hardly anything but these is left of the image behind ten convolutions, and GroupNorm brings
    back what is left together with them. The `phis` begin as the identity, so that coarse maps are no noise to the fine
    ones. With `zero_init` residual branches begin as nothing (Goyal et al. 2017, arXiv 1706.02677, Section 5.1).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:  # drawing nothing takes time too
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for phi in phis:
        assert isinstance(phi, nn.Conv2d)
        nn.init.dirac_(phi.weight)
    if zero_init:
        for module in network.modules():
            if isinstance(module, ResidualBlock | AttentionBlock):
                last = module.conv2 if isinstance(module, ResidualBlock) else module.projection
                nn.init.zeros_(last.weight)
