"""Whether images are drawn on the scales that the model was trained on."""

from collections.abc import Iterator
from pathlib import Path

from var.doctor.patient import Patient
from var.doctor.report import Finding
from var.errors import UserError
from var.foreign.documents import read_json
from var.hub.layout import CONFIG
from var.scales import ScaleSchedule


def look_at_schedule(patient: Patient) -> Iterator[Finding]:
    """The sides in the configs of the models against those of the training."""
    trained = patient.schedule
    for place in _configs(patient):
        values = read_json(place)
        try:
            sides = tuple(_side(side) for side in values.get("sides", trained.sides))
            repeats = tuple(values.get("repeats", ()))
            said = ScaleSchedule(sides, repeats if len(repeats) == len(sides) else ())
        except (UserError, TypeError):
            continue  # it cannot be loaded, which is found where it is loaded
        if said.shapes == trained.shapes:
            continue
        pairs = zip(said.shapes, trained.shapes, strict=False)
        first = next((k for k, (one, other) in enumerate(pairs) if one != other), min(len(said), len(trained)))
        yield Finding(
            key="schedule",
            severity="fault",
            said="images would be drawn on other scales than the model was trained on",
            measured=f"trained with sides {_text(trained)}, but {_short(patient, place)} has {_text(said)}: "
            f"scale {first} is the first other one",
            remedy=f"put the sides {_text(trained)} back into {place}, or train again with the others",
        )


def _configs(patient: Patient) -> list[Path]:
    folder = patient.folder
    own = [folder.path / CONFIG, folder.path / "transformer" / CONFIG, folder.path / "vqvae" / CONFIG]
    if patient.vqvae is not None:
        own.append(Path(patient.vqvae).expanduser() / CONFIG)
    return [path for path in (*own, folder.checkpoints / "best" / CONFIG) if path.is_file()]


def _short(patient: Patient, place: Path) -> str:
    folder = patient.folder.path
    return str(place.relative_to(folder) if place.is_relative_to(folder) else place)


def _side(side: object) -> int | tuple[int, int]:
    return side if isinstance(side, int) else tuple(side)  # pyright: ignore[reportArgumentType, reportReturnType]


def _text(scales: ScaleSchedule) -> str:
    return " ".join(f"{height}x{width}" for height, width in scales.shapes)
