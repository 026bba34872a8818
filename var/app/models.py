"""What the page shows: the models, and what they are compared with."""

from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from var.errors import UserError
from var.sampling.command import LoadedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """The models of a page."""

    var: LoadedModel
    diffusion: LoadedModel | None = None
    data: str = ""  # what both were trained on, as `open_data` names it; empty where it is not known
    report: Path | None = None  # report.json of a comparison
    closing: Event = field(default_factory=Event)  # set when the server ends: what is drawn then is given up

    def __post_init__(self) -> None:
        other = self.diffusion
        if other is not None and other.image_shape != self.var.image_shape:
            raise UserError(
                "both models must draw images of one shape (channels, height, width), got "
                f"{self.var.image_shape} and {other.image_shape}; pass models of the same data"
            )

    @property
    def both(self) -> dict[str, LoadedModel]:
        """The models that are there, by their names on the page."""
        return {"VAR": self.var} | ({} if self.diffusion is None else {"Diffusion": self.diffusion})
