"""Protocols: everything about sampling and judging that moves a published number, as tables."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from var.errors import UserError, suggestion
from var.names import shown

Paradigm = Literal["var", "diffusion"]

ADM_REFERENCES = "https://openaipublic.blob.core.windows.net/diffusion/jul-2021/ref_batches/imagenet/"


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingProtocol:
    """How many images of which classes are drawn how, and what they are compared with by what.

    `sampling` holds keywords of a pipeline's call; its guidance scale is ours, 1 + cfg of the official VAR code.
    """

    name: str
    paradigm: Paradigm
    sampling: Mapping[str, Any]
    image_size: int  # pixels of a side
    channels: int
    num_classes: int
    per_class: int
    reference: str  # the file or the images that samples are compared with
    extractor: str
    labels_order: str = "all of class 0, then of class 1, and so on; image i has seed i"
    rounding: str = "nearest"  # of levels to uint8, one of `var.images.ROUNDINGS`
    storage: str = "PNG or npz, without resizing"
    inception_splits: int = 10  # of shuffled samples
    neighbours: int = 3  # of precision and recall
    source: str  # where the settings are published
    note: str = ""

    @property
    def count(self) -> int:
        """How many images are drawn."""
        return self.num_classes * self.per_class

    def labels(self) -> list[int]:
        """The class of each image."""
        return [index // self.per_class for index in range(self.count)]

    def to_dict(self) -> dict[str, Any]:
        """All fields, fit for JSON."""
        return {**asdict(self), "sampling": dict(self.sampling), "count": self.count}


_VAR256 = SamplingProtocol(
    name="imagenet256-official",
    paradigm="var",
    sampling={"guidance_scale": 2.5, "guidance_schedule": "linear", "top_k": 900, "top_p": 0.96},
    image_size=256,
    channels=3,
    num_classes=1000,
    per_class=50,
    reference=f"{ADM_REFERENCES}256/VIRTUAL_imagenet256_labeled.npz",
    extractor="inception",
    rounding="truncate",  # demo_sample.ipynb there: mul(255), astype(uint8)
    source="github.com/FoundationVision/VAR, README.md (cfg=1.5, top_k=900, top_p=0.96, more_smooth=False)",
    note="the published scores of VAR; the -re rows add rejection sampling, see rejection.py",
)
_DIT256 = replace(
    _VAR256,
    paradigm="diffusion",
    sampling={"sampler": "ddpm", "num_inference_steps": 250, "guidance_scale": 1.5, "spacing": "leading"},
    rounding="half-up",  # sample_ddp.py there: clamp(127.5 x + 128, 0, 255)
    source="github.com/facebookresearch/DiT, the defaults of sample_ddp.py",
    note="250 ancestral steps; DiT draws classes at random where 50 per class are drawn here, learns its variances, "
    "and guides 3 of its 4 latent channels only: a U-Net in pixels is sampled like it, but is not it",
)
_AT_512 = {
    "name": "imagenet512-official",
    "image_size": 512,
    "reference": f"{ADM_REFERENCES}512/VIRTUAL_imagenet512.npz",
}
_OUR_SETTING = "none: a setting of ours"
_DIGITS = SamplingProtocol(
    name="digits",
    paradigm="var",
    # The preset needs no guidance by now; another protocol would refuse the sets that were drawn by this one.
    sampling={"guidance_scale": 1.1, "guidance_schedule": "constant", "top_k": 0, "top_p": 0.0},
    image_size=8,
    channels=1,
    num_classes=10,
    per_class=100,
    reference="all 1797 real digits",
    extractor="the classifier of scripts/compare.py",
    source="the preset `digits`",
    note="the setting of the preset that was fixed beforehand",
)

_TABLE = (
    _VAR256,
    replace(_VAR256, **_AT_512, note="the README gives one setting beside the reference files of both sizes"),
    replace(
        _VAR256,
        name="imagenet256-unguided",
        sampling={"guidance_scale": 1.0, "guidance_schedule": "linear", "top_k": 0, "top_p": 0.0},
        source=_OUR_SETTING,
        note="what the model has learnt, without guidance and without cutting the tail of the distribution",
    ),
    _DIT256,
    replace(_DIT256, **_AT_512),
    replace(
        _DIT256,
        name="imagenet256-ddim50",
        sampling={"sampler": "ddim", "num_inference_steps": 50, "guidance_scale": 1.5, "spacing": "leading"},
        source=_OUR_SETTING,
        note="a fifth of the steps",
    ),
    _DIGITS,
    replace(
        _DIGITS,
        paradigm="diffusion",
        sampling={"sampler": "ddim", "num_inference_steps": 50, "guidance_scale": 1.1, "spacing": "leading"},
    ),
)

PROTOCOLS: dict[tuple[str, Paradigm], SamplingProtocol] = {(row.name, row.paradigm): row for row in _TABLE}
"""All protocols, by name and paradigm."""


def protocol(name: str, *, paradigm: Paradigm = "var") -> SamplingProtocol:
    """The protocol called `name` for a model of `paradigm`; raises `UserError` for an unknown one."""
    known = [other for other, of in PROTOCOLS if of == paradigm]
    if name not in known:
        kind = "VAR" if paradigm == "var" else "diffusion"
        raise UserError(f"unknown protocol {shown(name)!r} for {kind}; {suggestion(name, known)}")
    return PROTOCOLS[name, paradigm]


def followed_paradigm(name: str, manifest: Mapping[str, Any]) -> Paradigm:
    """Whose protocol `name` a set with this manifest follows; one that does not say is VAR's, where VAR has it."""
    if manifest:
        return "diffusion" if "num_inference_steps" in manifest.get("settings", {}) else "var"
    return "var" if (name, "var") in PROTOCOLS or (name, "diffusion") not in PROTOCOLS else "diffusion"
