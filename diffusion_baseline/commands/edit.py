"""`python -m diffusion_baseline edit`: pictures in, for each seed an edit of them out, one file each."""

from dataclasses import asdict, dataclass, field
from typing import Any

from diffusion_baseline.commands import guides
from diffusion_baseline.sampling_settings import SamplingSettings
from var import checks
from var.errors import UserError
from var.sampling.edit_command import edit_command

HELP = "redraw masked parts of images, or vary them"
RESUMES = True


@dataclass(frozen=True, slots=True, kw_only=True)
class EditSettings:
    """What is kept of images; every field has an option."""

    strength: float | None = field(
        default=None, metadata={"help": "share of the timesteps that is gone through (default: 1 with masks, else 0.5)"}
    )
    resampling: int | None = field(default=None, metadata={"help": "times a stretch is gone through (default 4)"})
    jump: int | None = field(default=None, metadata={"help": "steps of a stretch (default 1)"})

    def __post_init__(self) -> None:
        checks.fields(self)

    def method(self, masked: bool) -> tuple[str, dict[str, Any]]:
        """The pipeline's method, with masks or without, and its keywords; raises `UserError` for what contradicts."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        more = sorted(given.keys() - {"strength"})
        if more and not masked:
            raise UserError(f"variations are without --{more[0]}, got it without --masks; leave it out")
        return "edit" if masked else "variations", given


add_arguments, run = edit_command(guides.add_arguments, guides.load, SamplingSettings, EditSettings)
