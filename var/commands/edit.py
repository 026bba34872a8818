"""`var edit`: pictures in, for each seed an edit of them out, one file each."""

from dataclasses import asdict, dataclass, field
from typing import Any

from var import checks
from var.commands import guides
from var.errors import UserError
from var.generation.sampling_settings import SamplingSettings
from var.sampling.edit_command import edit_command

HELP = "redraw masked parts of images, vary them, or upscale them"
RESUMES = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EditSettings:
    """What is kept of images; every field has an option."""

    keep_scales: int = field(default=0, metadata={"help": "scales, from the first one on, that are kept whole"})
    keep_pixels: bool = field(default=False, metadata={"help": "keep the pixels outside the masks as they are given"})
    blend: int = field(default=0, metadata={"help": "pixels inside the masks that go over into those that are kept"})
    upscale: bool = field(
        default=False, metadata={"help": "draw what images smaller than the model's lack, instead of varying them"}
    )

    def __post_init__(self) -> None:
        checks.fields(self)

    def method(self, masked: bool) -> tuple[str, dict[str, Any]]:
        """The pipeline's method, with masks or without, and its keywords; raises `UserError` for what contradicts."""
        given = {name: value for name, value in asdict(self).items() if value and name != "upscale"}
        taken = {"keep_scales", "keep_pixels", "blend"} if masked else set() if self.upscale else {"keep_scales"}
        method = "upscale" if self.upscale else "edit" if masked else "variations"
        if (self.upscale and masked) or not given.keys() <= taken:
            more = ["masks"] * masked + [f"--{name.replace('_', '-')}" for name in sorted(given.keys() - taken)]
            raise UserError(f"{method} is without {more[0]}, got both; leave one of them out")
        if method == "variations" and not self.keep_scales:
            raise UserError("variations keep some scales of the images, got none; pass --keep-scales, or --masks")
        return method, given


add_arguments, run = edit_command(guides.add_arguments, guides.load, SamplingSettings, EditSettings)
