"""How near a reconstruction is to its image: PSNR and SSIM of each pair, and all measures of a tokenizer at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional as F

from var.errors import UserError
from var.evaluation.features.extraction import Array, FeatureExtractor, Images, uint8_batches
from var.evaluation.features.feature_store import FeatureStore
from var.evaluation.metrics.frechet import frechet_distance
from var.evaluation.metrics.statistics import Statistics
from var.images import from_uint8

PerceptualDistance = Callable[[Float[Tensor, "batch c h w"], Float[Tensor, "batch c h w"]], Float[Tensor, " batch"]]
"""A distance of pairs of images in [-1, 1], as `var.evaluation.metrics.lpips.LPIPS`."""

WINDOW = 11  # pixels of a side of SSIM's window
_SIGMA = 1.5
_C1, _C2 = 0.01**2, 0.03**2  # of a range of 1


def psnr(images: Array, reconstructions: Array) -> Float64[Tensor, " batch"]:
    """Peak signal-to-noise ratio of each image, in dB: -10 log10 of the mean squared error at peak 1; equal: inf.

    Both are uint8 (0..255), or both float in [0, 1], of shape (batch, ...). Average the result over images: the ratio
    of a whole set at once is another number. Raises `UserError` for different shapes or types, or values outside [0,
    1].
    """
    a, b = _unit_range(images, "images"), _unit_range(reconstructions, "reconstructions")
    if a.shape != b.shape or a.ndim < 2:
        raise UserError(f"images and reconstructions must have one shape (batch, ...), got {a.shape} and {b.shape}")
    error = torch.from_numpy(((a - b) ** 2).reshape(len(a), -1).mean(axis=1))
    return -10 * error.log10()


def ssim(images: Array, reconstructions: Array) -> Float64[Tensor, " batch"]:
    """Structural similarity (Wang et al. 2004) of each image, at most 1; equal: 1.

    The authors' variant: a Gaussian window of 11x11 pixels with deviation 1.5, only where it lies wholly within the
    image, and the mean over places and channels. Both are uint8 (0..255), or both float in [0, 1], NCHW. Raises
    `UserError` for different shapes or types, values outside [0, 1], or images smaller than the window.
    """
    a, b = (
        torch.from_numpy(x) for x in (_unit_range(images, "images"), _unit_range(reconstructions, "reconstructions"))
    )
    if a.shape != b.shape or a.ndim != 4:
        raise UserError(
            f"images and reconstructions must have one shape (batch, channels, height, width), got {tuple(a.shape)} "
            f"and {tuple(b.shape)}; match them"
        )
    if min(a.shape[2:]) < WINDOW:
        raise UserError(f"SSIM needs images of at least {WINDOW}x{WINDOW}, got {a.shape[2]}x{a.shape[3]}; leave it out")
    mean_a, mean_b = _windowed(a), _windowed(b)
    variance_a, variance_b = _windowed(a * a) - mean_a**2, _windowed(b * b) - mean_b**2
    covariance = _windowed(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a**2 + mean_b**2 + _C1)
    structure = (2 * covariance + _C2) / (variance_a + variance_b + _C2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def _windowed(images: Float64[Tensor, "batch c h w"]) -> Float64[Tensor, "batch c _h _w"]:
    """Gaussian means over all windows that lie within the images."""
    places = torch.arange(WINDOW, dtype=torch.float64) - WINDOW // 2
    weights = torch.exp(-places.square() / (2 * _SIGMA**2))
    weights = (weights / weights.sum()).expand(images.shape[1], 1, 1, WINDOW)
    rows = F.conv2d(images, weights, groups=images.shape[1])
    return F.conv2d(rows, weights.transpose(2, 3), groups=images.shape[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconstructionScores:
    """How well a tokenizer keeps images; means over images."""

    images: int
    psnr: float  # dB; infinite if every image is kept exactly
    ssim: float | None  # at most 1; None for images smaller than its window
    perceptual: float | None  # LPIPS, at least 0; None where no network was given
    reconstruction_fd: float | None  # rFID with the Inception extractor, else rFD-name; None where none was given


def evaluate_reconstructions(
    images: Images,
    reconstructions: Images,
    *,
    extractor: FeatureExtractor | None = None,
    perceptual: PerceptualDistance | None = None,
) -> ReconstructionScores:
    """All measures of pairs of uint8 NCHW images, batch by batch; rFD compares both sets' features.

    Raises `UserError` for arrays that are not uint8 NCHW, batches that do not pair up, or fewer than 2 images.
    """
    signal, structure, perceived = [], [], []
    with FeatureStore() as real, FeatureStore() as decoded:
        originals, others = uint8_batches(images, name="images"), uint8_batches(reconstructions, name="reconstructions")
        for a, b in _pairs(originals, others):
            signal.append(psnr(a, b))
            if min(a.shape[2:]) >= WINDOW:
                structure.append(ssim(a, b))
            if perceptual is not None:
                with torch.inference_mode():
                    perceived.append(perceptual(from_uint8(a), from_uint8(b)).double().cpu())
            if extractor is not None:
                real.add(extractor(a).features)
                decoded.add(extractor(b).features)
        count = sum(map(len, signal))
        if count < 2:
            raise UserError(f"images must hold at least 2 pairs, got {count}; give more")
        features = None if extractor is None else (real.rows(), decoded.rows())
    return ReconstructionScores(
        images=count,
        psnr=float(torch.cat(signal).mean()),
        ssim=float(torch.cat(structure).mean()) if structure else None,
        perceptual=float(torch.cat(perceived).mean()) if perceived else None,
        reconstruction_fd=None if features is None else frechet_distance(*map(Statistics.from_features, features)),
    )


def _pairs(images: Iterator[Tensor], reconstructions: Iterator[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of both, which must agree in shape."""
    for a, b in zip_longest(images, reconstructions):
        if a is None or b is None or a.shape != b.shape:
            found = ["no more images" if x is None else str(tuple(x.shape)) for x in (a, b)]
            raise UserError(
                f"each batch of images needs its reconstructions of the same shape, got {found[0]} and {found[1]}; "
                "give both in the same batches"
            )
        yield a, b


def _unit_range(images: Array, name: str) -> Float64[np.ndarray, "..."]:
    try:
        tensor = torch.as_tensor(images).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{name} must be an array, got {type(images).__name__}; give uint8 or floats") from error
    if tensor.dtype == torch.uint8:
        return tensor.double().numpy() / 255
    if not tensor.is_floating_point():
        raise UserError(f"{name} must be uint8 or float in [0, 1], got {tensor.dtype}; convert them")
    values = tensor.double()
    # Written so that NaN fails too.
    if values.numel() and not (values.min() >= 0 and values.max() <= 1):
        low, high = values.min().item(), values.max().item()
        raise UserError(f"{name} must be in [0, 1], got [{low:.3g}, {high:.3g}]; map [-1, 1] with (x + 1) / 2")
    return values.numpy()
