"""Any classifier of timm as a judge: which class an image shows, for class consistency and rejection sampling."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor, nn

from var.errors import UserError, first_line, suggestion
from var.evaluation.features.digests import network_digest
from var.evaluation.features.extraction import Features, check_rgb
from var.evaluation.features.full_precision import full_float32
from var.foreign.weights import read_tensors
from var.names import shown
from var.weights import check_fit, kinds_of


class TimmClassifier:
    """Pooled features and logits of RGB images, prepared by the transform that timm publishes with the network.

    ImageNet-1k networks (`resnet101.tv_in1k`) number classes as the folders of ImageNet are sorted, as VAR does.
    """

    def __init__(self, name: str, network: nn.Module) -> None:
        import timm.data

        self.name = name
        self.network = network.eval().requires_grad_(False)
        self.digest = network_digest(name, network)
        self.class_names = _imagenet_names(network)
        self._device = next(network.parameters()).device
        transform = timm.data.create_transform(**timm.data.resolve_model_data_config(network), is_training=False)
        self._prepare = cast(Callable[[Image.Image], Tensor], transform)

    @classmethod
    def load(cls, name: str, weights: Path | str | None = None, *, device: str = "cpu") -> "TimmClassifier":
        """The network that timm calls `name`, with the weights in the file `weights`, or those that timm downloads.

        Raises `UserError` if timm does not know the name, or the weights are missing or of another network.
        """
        import timm

        base = name.partition(".")[0]
        if not timm.is_model(base):
            raise UserError(f"timm knows no network {name!r}; {suggestion(base, timm.list_models())}")
        network = _created(name, download=weights is None)
        if weights is not None:
            _fill(network, Path(weights).expanduser())
        return cls(name, network.to(device))

    def __call__(self, images: UInt8[Tensor, "batch c h w"]) -> Features:
        """Features and logits of a batch of RGB images of any size.

        Raises `UserError` for images of another number of channels than 3.
        """
        check_rgb(images, self.name)
        pictures = [Image.fromarray(pixels) for pixels in images.cpu().permute(0, 2, 3, 1).numpy()]
        pixels = torch.stack([self._prepare(picture) for picture in pictures]).to(self._device)
        with torch.inference_mode(), full_float32():
            maps = self.network.forward_features(pixels)  # pyright: ignore[reportCallIssue]
            features = self.network.forward_head(maps, pre_logits=True)  # pyright: ignore[reportCallIssue]
            return Features(features=features, logits=self.network.forward_head(maps))  # pyright: ignore[reportCallIssue]


def _imagenet_names(network: nn.Module) -> tuple[str, ...] | None:
    """The number and the names of each class of a network that tells those of ImageNet or a part of it; else None."""
    import timm.data

    subset = timm.data.infer_imagenet_subset(network)
    if subset is None:
        return None
    known = timm.data.ImageNetInfo(subset)
    return tuple(map(", ".join, zip(known.label_names(), known.label_descriptions(), strict=True)))


def _created(name: str, *, download: bool) -> nn.Module:
    import timm

    try:
        return timm.create_model(name, pretrained=download)
    except Exception as error:  # the library, the Hub and the network raise a dozen kinds
        remedy = "correct the name, or give the file of its weights" if download else "correct the name"
        raise UserError(f"timm must be able to make {name!r}, but: {first_line(error)}; {remedy}") from error


def _fill(network: nn.Module, path: Path) -> None:
    tensors = read_tensors(path)
    rule = f"{shown(path)} must hold the weights of this network"
    check_fit(kinds_of(network.state_dict()), kinds_of(tensors), rule, "give its own file")
    network.load_state_dict(tensors)
