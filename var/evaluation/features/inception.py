"""The network of FID: Inception with the TensorFlow weights of 2015-12-05, through torch-fidelity."""

import io
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from var.errors import UserError
from var.evaluation.features.extraction import Features, check_rgb
from var.evaluation.features.full_precision import full_float32
from var.evaluation.features.published_weights import PublishedExtractor, PublishedWeights

INCEPTION = PublishedWeights(
    name="weights-inception-2015-12-05-6726825d.pth",
    url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
    sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
)
"""The graph of 2015-12-05 as PyTorch tensors; pytorch-fid publishes the same file as pt_inception-2015-12-05."""

CLASSES = 1008  # of the graph's head
SPATIAL_CHANNELS = 7  # of the inner map that sFID looks at; with 17x17 places they make 2023 features


class InceptionExtractor(PublishedExtractor):
    """Pooled features (2048), logits without their bias (1008) and sFID's features (2023) of RGB images.

    Images are resized as the TensorFlow graph does (bilinear, no antialiasing) inside torch-fidelity's network.
    Distances in these features, and in no others, are called FID. Always float32, with TF32 off.
    """

    name = "inception"
    own_classes = True  # the graph's order is not that of ImageNet's folders
    published = INCEPTION

    @staticmethod
    def build(tensors: dict[str, Tensor]) -> nn.Module:
        """torch-fidelity's network with these tensors; raises `UserError` if torch-fidelity 0.4 is not installed."""
        try:
            installed = version("torch-fidelity")
            module = import_module("torch_fidelity.feature_extractor_inceptionv3")
        except (ImportError, PackageNotFoundError) as error:
            raise UserError(f'FID needs torch-fidelity, but: {error}; pip install "next-scale[eval]"') from error
        if not installed.startswith("0.4."):
            raise UserError(f'FID needs torch-fidelity >=0.4,<0.5, got {installed}; pip install "next-scale[eval]"')
        # Its constructor reads a file, and without `weights_only`: it gets bytes that were written here.
        file = io.BytesIO()
        torch.save(tensors, file)
        file.seek(0)
        features = ["2048", "logits_unbiased"]
        network = module.FeatureExtractorInceptionV3(
            "inception-v3-compat", features, feature_extractor_weights_path=file
        )
        # Half as fast again on CPUs, equal to 3e-7.
        return network.to(memory_format=torch.channels_last)

    def __call__(self, images: UInt8[Tensor, "batch c h w"]) -> Features:
        """Features of a batch of RGB images of any size.

        Raises `UserError` for images of another number of channels than 3.
        """
        check_rgb(images, "Inception")
        inner: list[Any] = []
        watched = self.network.get_submodule("Mixed_6d.branch1x1")
        hook = watched.register_forward_hook(lambda _module, _given, output: inner.append(output))
        try:
            with torch.inference_mode(), full_float32():
                features, logits = self.network(images.to(self._device))
        finally:
            hook.remove()
        return Features(features=features, logits=logits, spatial=spatial_features(inner[0]))


def spatial_features(inner_map: Float[Tensor, "batch c h w"]) -> Float[Tensor, "batch places"]:
    """SFID's features (Nash et al. 2021): the first 7 channels, in the order of TensorFlow, channels last.

    `inner_map` is the output of the 1x1 branch of the block Mixed_6d (mixed_6/conv), after its ReLU. The order matters,
    because the reference's file has it.
    """
    return inner_map[:, :SPATIAL_CHANNELS].permute(0, 2, 3, 1).flatten(1)
