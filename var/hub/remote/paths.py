"""What a text can mean: a folder here, or a model on the Hub."""

import re
from pathlib import Path, PurePosixPath

from var.errors import UserError, suggestion
from var.hub.packaged import OURS, packaged_model
from var.names import shown
from var.paths import expanded

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def existing_path(path_or_id: Path | str, package: str = OURS) -> Path | None:
    """What is there on this machine, or None for what may be an id on the Hub; neither raises `UserError`.

    What is no path may be the id of a model that comes with `package`. No network and no torch are needed: commands
    call it before they load anything.
    """
    path, text = expanded(path_or_id), str(path_or_id)
    try:
        if path.exists():
            return path
        near = near_folder(path) or "check the spelling"
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise UserError(f"a local model must be an existing folder, but {path}: {error.strerror}") from error
    if isinstance(path_or_id, Path) or text.startswith((".", "~", "/")) or "\\" in text or text.count("/") > 1:
        raise UserError(f"a local model must be an existing folder, but there is no {path}; {near}")
    check_id(text)
    return packaged_model(text, package)


def check_id(repo_id: str) -> None:
    """Raise `UserError` unless `repo_id` is spelled as the Hub spells them."""
    if not isinstance(repo_id, str) or not HUB_ID.fullmatch(repo_id):
        found = shown(repr(repo_id))
        raise UserError(
            f"a model must be an existing folder or a Hub id like 'owner/name', got {found}; correct the spelling"
        )


def near_folder(path: Path) -> str | None:
    """A suggestion if there is a folder with a similar name."""
    if not path.parent.is_dir():
        return None
    names = [sibling.name for sibling in path.parent.iterdir() if sibling.is_dir()]
    near = suggestion(path.name, names)
    return near if near.startswith("did you mean") else None


def checked_inside(name: str, what: str, example: str) -> str:
    """The path `name` below a folder, normalised; raises `UserError` if it leaves the folder."""
    parts = PurePosixPath(name).parts
    if ".." in parts or "/" in parts or "\\" in name:
        raise UserError(f"{what} must lie inside the model's folder, got {name!r}; give a name like {example!r}")
    return "/".join(parts)
