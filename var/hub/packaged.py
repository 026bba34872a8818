"""Models that come with a package: "next-scale/NAME" is the one in its folder `models/NAME`.

They are stored in bfloat16, which keeps them small, and compute in float32 unless another type is asked for.
"""

from importlib.resources import files
from pathlib import Path

from var.errors import UserError
from var.hub.layout import CONFIG, PIPELINE_INDEX

OWNER = "next-scale"
"""Of the ids of such models; the Hub is not asked for what is its own."""

OURS = __name__.partition(".")[0]
"""The package whose models are meant where none is named."""


def packaged_models(package: str = OURS) -> dict[str, Path]:
    """The folders of the models that come with `package`, by their ids."""
    keys = [key for name in (PIPELINE_INDEX, CONFIG) for key in models_folder(package).glob(f"*/{name}")]
    return {f"{OWNER}/{key.parent.name}": key.parent for key in sorted(keys)}


def packaged_model(model_id: str, package: str) -> Path | None:
    """The folder of the model `model_id` of `package`, or None for an id of another owner.

    Raises `UserError` for a model that the package does not have.
    """
    if not model_id.startswith(f"{OWNER}/"):
        return None
    models = packaged_models(package)
    if model_id not in models:
        have = f"choose one of {', '.join(map(repr, models))}" if models else "there are none"
        raise UserError(f"models of {OWNER!r} are those that come with {package}, got {model_id!r}; {have}")
    return models[model_id]


def models_folder(package: str) -> Path:
    """Where the models of `package` lie."""
    return Path(str(files(package))).resolve() / "models"
