"""The one place that talks to the Hugging Face Hub."""

import re
from pathlib import Path, PurePosixPath
from typing import TypedDict, Unpack

from var.errors import UserError, suggestion

DOWNLOADED = ("*config.json", "*pipeline_index.json", "*.safetensors", "*.safetensors.index.json")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


class Source(TypedDict, total=False):
    """Where on the Hub, and how, to look for a model; all but `subfolder` matter for ids only, not for folders.

    revision: branch, tag or commit. token: access token, or False for none (default: the one logged in).
    cache_dir: folder of downloads. local_files_only: use the cache, never the network. subfolder: "a/b" inside.
    """

    revision: str | None
    token: str | bool | None
    cache_dir: Path | str | None
    local_files_only: bool
    subfolder: str | None


def find_folder(path_or_id: Path | str, **source: Unpack[Source]) -> Path:
    """The folder of a saved model: `path_or_id` itself if it exists, else a download of that id from the Hub.

    What can only be a path (absolute; beginning with "." or "~"; with a backslash or more than one slash) is never
    asked of the Hub. Raises `UserError` if there is no such folder or the Hub does not give it.
    """
    subfolder = _checked_subfolder(source.get("subfolder"))
    path = Path(path_or_id).expanduser()
    if not path.exists():
        path = _from_hub(str(path_or_id), subfolder, source) if _may_be_id(path_or_id) else _missing(path)
    folder = path / subfolder
    if not folder.is_dir():
        reason = "it is a file" if folder.exists() else "there is none"
        raise UserError(
            f"a saved model is a folder, got {folder}, but {reason}; give the folder that holds config.json"
        )
    return folder


def create_repository(repo_id: str, *, token: str | bool | None, private: bool) -> str:
    """Make `repo_id` on the Hub unless it is there; its full id, with the owner."""
    from huggingface_hub import HfApi

    _check_id(repo_id)
    try:
        return HfApi(token=token).create_repo(repo_id, private=private, exist_ok=True).repo_id
    except _hub_errors() as error:
        raise _explain(f"the Hub did not take {repo_id!r}", error) from error


def upload(folder: Path, repo_id: str, *, token: str | bool | None, commit_message: str) -> str:
    """Commit the files in `folder` to the Hub's `repo_id`; the address of the commit."""
    from huggingface_hub import HfApi

    try:
        commit = HfApi(token=token).upload_folder(repo_id=repo_id, folder_path=folder, commit_message=commit_message)
    except _hub_errors() as error:
        raise _explain(f"the Hub did not take {repo_id!r}", error) from error
    return str(commit.commit_url)


def _may_be_id(path_or_id: Path | str) -> bool:
    text = str(path_or_id)
    local = isinstance(path_or_id, Path) or text.startswith((".", "~", "/")) or "\\" in text or text.count("/") > 1
    if not local:
        _check_id(text)
    return not local


def _check_id(repo_id: str) -> None:
    if not HUB_ID.fullmatch(repo_id):
        raise UserError(
            f"a model must be an existing folder or a Hub id like 'owner/name', got {repo_id!r}; correct the spelling"
        )


def _missing(path: Path) -> Path:
    remedy = "check the spelling"
    if path.parent.is_dir():
        names = [sibling.name for sibling in path.parent.iterdir() if sibling.is_dir()]
        near = suggestion(path.name, names)
        remedy = near if near.startswith("did you mean") else remedy
    raise UserError(f"a local model must be an existing folder, but there is no {path}; {remedy}")


def _checked_subfolder(subfolder: str | None) -> str:
    parts = PurePosixPath(subfolder or "").parts
    if ".." in parts or "/" in parts or "\\" in (subfolder or ""):
        raise UserError(f"subfolder must lie inside the model's folder, got {subfolder!r}; give a name like 'vqvae'")
    return "/".join(parts)


def _from_hub(repo_id: str, subfolder: str, source: Source) -> Path:
    from huggingface_hub import snapshot_download

    prefix = f"{subfolder}/" if subfolder else ""
    try:
        return Path(
            snapshot_download(
                repo_id,
                revision=source.get("revision"),
                token=source.get("token"),
                cache_dir=source.get("cache_dir"),
                local_files_only=source.get("local_files_only", False),
                allow_patterns=[prefix + pattern for pattern in DOWNLOADED],
            )
        )
    except _hub_errors() as error:
        raise _explain(f"the Hub did not give {repo_id!r}", error) from error


def _hub_errors() -> tuple[type[Exception], ...]:
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx  # the Hub's own choice among the forks of httpx

    return (OSError, ValueError, errors.EntryNotFoundError, httpx.HTTPError)


def _explain(what: str, error: Exception) -> UserError:
    """The one line for what the Hub, or the way to it, answered, beginning with `what` failed."""
    from huggingface_hub import errors
    from huggingface_hub.utils import httpx

    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, errors.GatedRepoError):
        return UserError(f"{what}: access is gated; ask for it on the model's page and log in with `hf auth login`")
    if isinstance(error, errors.RevisionNotFoundError):
        return UserError(f"{what}: it has no such revision; name a branch, tag or commit that it has")
    if isinstance(error, errors.RepositoryNotFoundError):
        return UserError(
            f"{what}: there is no such folder here and no such model there, or it is private; check the spelling, "
            "or log in with `hf auth login`"
        )
    if status in (401, 403):
        return UserError(f"{what}: status {status}, not allowed; pass a token that may, or log in with `hf auth login`")
    offline = (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, httpx.TransportError)
    if isinstance(error, offline):
        return UserError(
            f"{what}: it is no folder here, not in the cache, and the Hub is out of reach or not to be asked; "
            "give the path of a folder, or go online"
        )
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return UserError(f"{what}: {reason}; try again, or download it by hand and give its folder")
