"""LPIPS: how different two images look, in the features of VGG16 with published weights of its channels."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from var.errors import UserError
from var.evaluation.features.published_weights import PublishedWeights, find_weights
from var.files import file_digest
from var.foreign.weights import read_tensors
from var.weights import check_fit, kinds_of

VGG16 = PublishedWeights(
    name="vgg16-397923af.pth",
    url="https://download.pytorch.org/models/vgg16-397923af.pth",
    sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
)
"""ImageNet weights of torchvision's VGG16; its classifier is not used."""

HEADS = PublishedWeights(
    name="vgg.pth",
    url="https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/vgg.pth",
    sha256="a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
)
"""The weights of version 0.1 that the authors of LPIPS fitted to human judgements."""

SMALLEST = 16  # pixels of a side: four poolings leave one place

_WIDTHS = (64, 128, 256, 512, 512)  # of the five groups of convolutions
_DEPTHS = (2, 2, 3, 3, 3)
# ImageNet's mean and deviation, for images in [-1, 1].
_MEAN = (-0.030, -0.088, -0.188)
_DEVIATION = (0.458, 0.448, 0.450)
_EPSILON = 1e-10


class LPIPS(nn.Module):
    """The learned perceptual distance of Zhang et al. (2018, arXiv 1801.03924), with VGG16 and the v0.1 heads.

    `LPIPS.load()` reads the published weights; a fresh instance is untrained, which tests may use. Frozen and in eval
    mode for good; gradients flow to the images, so that it serves as a loss. About 15 million parameters.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(*_vgg16_layers())
        self.heads = nn.ParameterList([nn.Parameter(torch.full((width,), 1 / width)) for width in _WIDTHS])
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None], persistent=False)
        self.digest = "untrained"  # of both files of weights
        self.requires_grad_(False)
        self.eval()

    @classmethod
    def load(
        cls,
        vgg16: Path | str | None = None,
        heads: Path | str | None = None,
        *,
        device: torch.device | str = "cpu",
        progress: bool = True,
    ) -> "LPIPS":
        """The published metric: files by path, or from torch's cache of checkpoints, or downloaded; hashes are checked.

        Raises `UserError`, which names the file, for one that is missing or not the published one.
        """
        files = [
            find_weights(published, path, progress=progress) for published, path in ((VGG16, vgg16), (HEADS, heads))
        ]
        return cls.from_files(*files).to(device)

    @classmethod
    def from_files(cls, vgg16: Path, heads: Path) -> "LPIPS":
        """LPIPS with any weights of the right shapes, whatever their hash; `digest` tells which they were.

        `vgg16` holds `features.N.weight` and `.bias` as torchvision and timm name them (a classifier in it is left
        out), `heads` holds `linI.model.1.weight`; `.pth` or `.safetensors`. Raises `UserError` if a tensor is missing
        or misshapen; the message names the file.
        """
        network = cls()
        found = read_tensors(vgg16)
        _fill(network.features, {str(key).removeprefix("features."): value for key, value in found.items()}, vgg16)
        # A head is a convolution of 1x1 to one channel: (1, width, 1, 1).
        found = {str(key).split(".")[0].removeprefix("lin"): value for key, value in read_tensors(heads).items()}
        flat = {key: value.flatten() if isinstance(value, Tensor) else value for key, value in found.items()}
        _fill(network.heads, flat, heads)
        network.digest = f"{file_digest(vgg16)}+{file_digest(heads)}"
        return network

    def train(self, mode: bool = True) -> "LPIPS":
        """Stay in eval mode: a metric does not learn, even inside a model that does."""
        return super().train(False)

    def forward(
        self, images: Float[Tensor, "batch c h w"], others: Float[Tensor, "_batch _c _h _w"]
    ) -> Float[Tensor, " batch"]:
        """The distance of each pair, at least 0, 0 for equal images; both in [-1, 1], of 1 (grey) or 3 channels.

        Raises `UserError` for other shapes, or sides below 16 pixels.
        """
        _check_pair(images, others)
        total = images.new_zeros(len(images))
        a, b = self._standardised(images), self._standardised(others)
        group = 0
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                total = total + self._difference(group, a, b)
                group += 1
            a, b = layer(a), layer(b)
        return total + self._difference(group, a, b)

    def _standardised(self, images: Tensor) -> Tensor:
        return (images.expand(-1, 3, -1, -1) - self.mean) / self.deviation

    def _difference(self, group: int, a: Tensor, b: Tensor) -> Float[Tensor, " batch"]:
        """Squared difference of the features of unit length, weighted over channels, averaged over places."""
        square = (_unit_length(a) - _unit_length(b)).square()
        return torch.einsum("bchw,c->b", square, self.heads[group].to(square.dtype)) / (a.shape[2] * a.shape[3])


def _vgg16_layers() -> list[nn.Module]:
    """Convolutions of 3x3 with ReLU, a pooling between the groups; numbered as torchvision numbers them."""
    layers: list[nn.Module] = []
    before = 3
    for group, (width, depth) in enumerate(zip(_WIDTHS, _DEPTHS, strict=True)):
        if group:
            layers.append(nn.MaxPool2d(2))
        for _ in range(depth):
            # Not in place: the output of the last one of a group is used twice.
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU()]
            before = width
    return layers


def _unit_length(features: Tensor) -> Tensor:
    # The epsilon stands outside the root, as in the published weights' network; sqrt has no gradient at 0.
    squares = features.square().sum(dim=1, keepdim=True)
    length = torch.where(squares > 0, squares, 1).sqrt() * (squares > 0)
    return features / (length + _EPSILON)


def _fill(module: nn.Module, tensors: dict[str, Any], path: Path) -> None:
    """Copy `tensors` into the parameters of `module`, every one of which must be there in its shape."""
    parameters = dict(module.named_parameters())
    found = {name: tensors[name] for name in parameters if name in tensors}
    remedy = f"give {VGG16.name} and {HEADS.name} of LPIPS 0.1"
    check_fit(kinds_of(parameters), kinds_of(found), f"{path} must hold the weights of LPIPS", remedy)
    for name, parameter in parameters.items():
        parameter.data.copy_(found[name])


def _check_pair(images: Tensor, others: Tensor) -> None:
    for each in (images, others):
        if not isinstance(each, Tensor) or not each.is_floating_point() or each.ndim != 4:
            found = f"{each.dtype} {tuple(each.shape)}" if isinstance(each, Tensor) else type(each).__name__
            raise UserError(
                f"LPIPS takes float images in [-1, 1] (batch, channels, height, width), got {found}; use "
                "var.images.from_uint8"
            )
    shape = tuple(images.shape)
    if shape != tuple(others.shape):
        raise UserError(f"both sides of LPIPS need one shape, got {shape} and {tuple(others.shape)}; resize one")
    if shape[1] not in (1, 3):
        raise UserError(f"LPIPS takes images of 1 or 3 channels, got {shape[1]}; choose the channels to compare")
    if min(shape[2:]) < SMALLEST:
        raise UserError(
            f"LPIPS takes images of at least {SMALLEST}x{SMALLEST}, got {shape[2]}x{shape[3]}; leave it out"
        )
