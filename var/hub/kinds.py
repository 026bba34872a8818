"""What lies in a folder in which a model is looked for: it, one of another kind, a run that did not end, or none."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from var.errors import UserError, listed
from var.foreign.documents import read_json
from var.foreign.regular import MissingError
from var.hub.layout import CONFIG, FINISHED, MOST_CONFIG, MOST_INDEX, PIPELINE_INDEX, RUN_FILE
from var.names import shown

MOST_NAMED = 3
"""Things that a message names of a folder without a model."""


class OtherKindError(UserError):
    """What was `saved`, a class by its name, is not what the `rule` asks for; the `remedy` is for programmers."""

    def __init__(self, rule: str, saved: str, remedy: str) -> None:
        super().__init__(f"{rule}; {remedy}")
        self.rule, self.saved, self.remedy = rule, saved, remedy

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.rule, self.saved, self.remedy)  # as a pool of processes hands it over


@contextmanager
def remedies(known: Mapping[str, str]) -> Iterator[None]:
    """Within, whoever names a model of another kind is told what is done with it, `known` by the class that was saved.

    So command lines say it in their own words.
    """
    try:
        yield
    except OtherKindError as error:
        if error.saved not in known:
            raise
        raise OtherKindError(error.rule, error.saved, known[error.saved]) from error


def saved_name(folder: Path) -> str:
    """The class of the model or pipeline in `folder`, as it was saved; "" where nothing says so."""
    for name, most in ((PIPELINE_INDEX, MOST_INDEX), (CONFIG, MOST_CONFIG)):
        with suppress(UserError):
            saved = read_json(folder / name, most=most).get("class")
            if isinstance(saved, str):
                return saved
    return ""


def read_key(path: Path, most: int) -> dict[str, Any]:
    """The JSON object in the file by which a folder is known to hold a model, or a pipeline.

    Raises `UserError` where it is missing, which says what the folder is instead, and for a damaged one.
    """
    try:
        return read_json(path, most=most)
    except MissingError as error:
        raise _without(path.parent, error) from error


def _without(folder: Path, error: UserError) -> UserError:
    """What is said of a folder without a model; `error` is that its file is missing."""
    if not folder.is_dir():
        return error
    if (folder / RUN_FILE).exists() and not (folder / FINISHED).exists():
        return UserError(f"the run in {folder} must be finished to be used, but it is not; start it again to its end")
    rule = str(error).partition(";")[0]
    try:
        names = sorted(shown(path.name, 40) for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:  # another process has taken it away meanwhile, or it may not be listed
        return error
    found = f"it holds {listed(names, MOST_NAMED)}" if names else "it is empty"
    return UserError(f"{rule}: {folder} holds no model, {found}; give the folder of a saved model or of a finished run")
