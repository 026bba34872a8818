"""Folders and files from here or from the Hub."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple, TypedDict, TypeVar, Unpack

from var.errors import UserError, suggestion
from var.foreign.documents import parse_json
from var.foreign.regular import read_bytes
from var.foreign.weight_files import check_file, pickles_in
from var.hub.packaged import OURS
from var.hub.remote.errors import is_out_of_reach, one_line_errors
from var.hub.remote.paths import checked_inside, existing_path, near_folder
from var.keywords import known_keywords
from var.paths import expanded

MODEL_FILES = ("config.json", "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
KEYS = ("config.json", "pipeline_index.json")  # which a saved model has, and a saved pipeline

PATIENCE = 8.0
"""Seconds for the Hub's first answer; a name server that does not answer may take far longer by itself."""

Answer = TypeVar("Answer")


class Source(TypedDict, total=False):
    """Where on the Hub, and how, to look for a model; all but `subfolder` matter for ids only, not for folders.

    revision: branch, tag or commit. token: access token, or False for none (default: the one logged in).
    cache_dir: folder of downloads. local_files_only: use the cache, never the network. subfolder: "a/b" inside.
    progress: show the bars of downloads (default), where standard error is a terminal.
    """

    revision: str | None
    token: str | bool | None
    cache_dir: Path | str | None
    local_files_only: bool
    subfolder: str | None
    progress: bool


@known_keywords
def find_folder(
    path_or_id: Path | str, parts: Sequence[str] | None = None, package: str = OURS, **source: Unpack[Source]
) -> Path:
    """The folder of a saved model: `path_or_id` itself if it exists, else what comes with `package` or from the Hub.

    Of the Hub, all that was saved is fetched; given `parts`, only the pipeline whose models lie in folders of these
    names, or, if there are none, only the model in this very folder. What can only be a path
    (absolute; beginning with "." or "~"; with a backslash or more than one slash) is never asked of the Hub. Anything
    else is asked once, and not for long if nobody answers. Raises `UserError` if there is no such folder or the Hub
    does not give it.
    """
    subfolder = _prepared(source)
    return _found(path_or_id, subfolder, _saved_model(subfolder, parts), source, package)


@known_keywords
def find_snapshot(
    path_or_id: Path | str, keys: Sequence[str], files: Sequence[str], rule: str, **source: Unpack[Source]
) -> Path:
    """The folder of a model that others saved: `path_or_id` itself if it exists, else a download of that id.

    Of the Hub, `files` are fetched, in which * stands for anything; a repository without one of the `keys` breaks the
    `rule`. Else as `find_folder`.
    """
    subfolder = _prepared(source)
    top = f"{subfolder}/" if subfolder else ""
    wanted = _Wanted([top + name for name in keys], [top + name for name in files], [], rule, "give another id")
    return _found(path_or_id, subfolder, wanted, source)


def _found(path_or_id: Path | str, subfolder: str, wanted: "_Wanted", source: Source, package: str = OURS) -> Path:
    path = _local(path_or_id, source, package)
    if path is None:
        path = _folder_from_hub(str(path_or_id), wanted, source)
    folder = path / subfolder
    if not folder.is_dir():
        reason = "it is a file" if folder.exists() else "there is none"
        raise UserError(
            f"a saved model is a folder, got {folder}, but {reason}; give the folder that holds config.json"
        )
    return folder


@known_keywords
def find_file(path_or_id: Path | str, filename: str, **source: Unpack[Source]) -> Path:
    """One file of a local folder or of a Hub repository; `path_or_id`, `source` and errors as for `find_folder`.

    `filename` may lie in folders below: "a/b.pth".
    """
    inside = checked_inside(filename, "filename", "vae.pth")
    subfolder = _prepared(source)
    path = _local(path_or_id, source)
    if path is None:
        return _file_from_hub(str(path_or_id), f"{subfolder}/{inside}" if subfolder else inside, source)
    file = path / subfolder / inside
    if not file.is_file():
        names = [sibling.name for sibling in file.parent.iterdir()] if file.parent.is_dir() else []
        raise UserError(f"{file} must be a file, but there is none; {suggestion(file.name, names or [path.name])}")
    return file


def _local(path_or_id: Path | str, source: Source, package: str = OURS) -> Path | None:
    """The path if it exists, None for an id; a folder here is what it is, whatever revision is asked for."""
    path, revision = existing_path(path_or_id, package), source.get("revision")
    if path is not None and revision is not None:
        raise UserError(f"revision is for a model on the Hub, got {revision!r} for the local {path}; leave it out")
    return path


def _prepared(source: Source) -> str:
    """The subfolder; the home folder is known by its sign in the name of the cache."""
    if (cache := source.get("cache_dir")) is not None:
        source["cache_dir"] = expanded(cache)
    return checked_inside(source.get("subfolder") or "", "subfolder", "vqvae")


class _Wanted(NamedTuple):
    """Which files of a repository make up a model, as patterns in which * means slashes too."""

    keys: list[str]  # of which one must be there
    allowed: list[str]
    ignored: list[str]
    rule: str
    remedy: str

    def among(self, names: Iterable[str]) -> list[str]:
        from huggingface_hub.utils import filter_repo_objects

        return list(filter_repo_objects(names, allow_patterns=self.allowed, ignore_patterns=self.ignored))


def _saved_model(subfolder: str, parts: Sequence[str] | None) -> _Wanted:
    """The files of a model or pipeline that this package saved."""
    top = f"{subfolder}/" if subfolder else ""
    folders = [top, f"{top}*/"] if parts is None else [f"{top}{part}/" for part in parts] or [top]
    keys = [top + name for name in KEYS if (parts is None or (name == KEYS[1]) == bool(parts))]
    allowed = [folder + name for folder in folders for name in MODEL_FILES] + keys
    inner = [part.rpartition("/")[0] for part in parts or () if "/" in part]  # pipelines within the pipeline
    allowed += [f"{top}{part}/{KEYS[1]}" for part in dict.fromkeys(inner)]
    ignored = [] if parts is None else [folder + "*/*" for folder in folders]
    remedy = "give the id of a model that was saved by this package, the class that was saved, or a part of it as"
    return _Wanted(keys, allowed, ignored, f"must hold {' or '.join(keys)}", f"{remedy} subfolder")


class _Contact(NamedTuple):
    """What came of asking the Hub for a repository."""

    names: list[str] | None  # of all its files; None if the Hub is not to be asked, or does not answer in time
    error: Exception | None = None  # why it does not


def _folder_from_hub(repo_id: str, wanted: _Wanted, source: Source) -> Path:
    from huggingface_hub import snapshot_download

    what, remedy = _both_readings(repo_id)
    with one_line_errors(what, remedy, progress=source.get("progress", True)):
        contact = _first_contact(repo_id, source)
        if contact.names is not None:
            _check_offer(contact.names, wanted, repo_id)
        patterns = {"allow_patterns": wanted.allowed, "ignore_patterns": wanted.ignored}
        folder = _got(snapshot_download, contact, source, repo_id, **patterns)
    for name in wanted.among(file.relative_to(folder).as_posix() for file in folder.rglob("*.*")):
        _check_download(folder / name, repo_id)
    return folder


def _file_from_hub(repo_id: str, filename: str, source: Source) -> Path:
    from huggingface_hub import hf_hub_download

    what, remedy = _both_readings(repo_id)
    with one_line_errors(f"{what} with a file {filename!r}", remedy, progress=source.get("progress", True)):
        contact = _first_contact(repo_id, source)
        if contact.names is not None and filename not in contact.names:
            near = suggestion(filename, contact.names) if contact.names else "it is empty"
            raise UserError(f"the Hub's {repo_id!r} must hold {filename!r}, but does not; {near}")
        path = _got(hf_hub_download, contact, source, repo_id, filename=filename)
    _check_download(path, repo_id)
    return path


def _got(download: Callable[..., str], contact: _Contact, source: Source, repo_id: str, **options: Any) -> Path:
    """What the Hub's client downloads, or has in its cache if the Hub was not reached."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    for name in ("revision", "token", "cache_dir"):
        options[name] = source.get(name)
    try:
        return Path(download(repo_id, local_files_only=contact.names is None, **options))
    except LocalEntryNotFoundError as error:
        # Once it has answered, the reason is not the cache.
        reason = contact.error if contact.names is None else error.__cause__
        raise (reason if isinstance(reason, Exception) else error) from error


def _both_readings(repo_id: str) -> tuple[str, str]:
    """How an error begins, and what may mend it: the user may have meant a folder or an id."""
    near = near_folder(Path(repo_id))
    return (
        f"there is no folder {repo_id!r} here, and the Hub did not give it",
        near.rstrip("?") + "?, or correct the id" if near else "correct the path or the id",
    )


def _first_contact(repo_id: str, source: Source) -> _Contact:
    from huggingface_hub import HfApi

    if source.get("local_files_only"):
        return _Contact(None)

    def ask() -> list[str]:
        api = HfApi(token=source.get("token"))
        info = api.model_info(repo_id, revision=source.get("revision"), timeout=PATIENCE)
        return [file.rfilename for file in info.siblings or ()]

    try:
        return _Contact(_within(PATIENCE, ask))
    except Exception as error:
        if not is_out_of_reach(error):
            raise
        return _Contact(None, error)


def _within(seconds: float, ask: Callable[[], Answer]) -> Answer:
    """What `ask` returns or raises; `TimeoutError` if it does not within `seconds`, for then it is left behind."""
    answer: Future[Answer] = Future()

    def run() -> None:
        try:
            answer.set_result(ask())
        except BaseException as error:
            answer.set_exception(error)

    Thread(target=run, daemon=True).start()
    if not wait([answer], seconds).done:
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    return answer.result()


def _check_offer(names: list[str], wanted: _Wanted, repo_id: str) -> None:
    """Raise before anything is downloaded if a repository holds nothing of ours."""
    chosen = wanted.among(names)
    if not any(key in chosen for key in wanted.keys):
        raise UserError(f"the Hub's {repo_id!r} {wanted.rule}, but does not; {wanted.remedy}")
    folders = {name.rpartition("/")[0] for name in chosen}
    pickles = pickles_in(name for name in names if name.rpartition("/")[0] in folders)
    if pickles and not any(name.endswith(".safetensors") for name in chosen):
        raise UserError(
            f"the Hub's {repo_id!r} must hold safetensors, but holds only {pickles[0]}, a pickle, which could run code "
            "and is not loaded; ask its owner for safetensors"
        )


def _check_download(path: Path, repo_id: str) -> None:
    """Raise and forget the download if a page, a pointer or a part of the file came in place of the file."""
    try:
        check_file(path)
        if path.suffix == ".json":
            parse_json(read_bytes(path), path, remedy="load it again")
    except UserError as error:
        # The cache never looks at a file twice, so it would go on giving this one.
        blob = path.resolve()
        with suppress(OSError):  # a cache that belongs to somebody else
            path.unlink(missing_ok=True)
            blob.unlink(missing_ok=True)
        reason = str(error).partition(", but: ")[2] or f"{error}; load it again"
        raise UserError(f"{path.name} of {repo_id!r} came damaged and was not kept: {reason}") from error
