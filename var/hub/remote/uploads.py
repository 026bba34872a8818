"""Folders on their way to the Hub."""

from collections.abc import Callable, Collection
from pathlib import Path

from var.hub.remote.errors import one_line_errors
from var.hub.remote.paths import check_id


def create_repository(repo_id: str, *, token: str | bool | None, private: bool, progress: bool = True) -> str:
    """Make `repo_id` on the Hub unless it is there; its full id, with the owner."""
    from huggingface_hub import HfApi

    check_id(repo_id)
    with one_line_errors(f"the Hub did not take {repo_id!r}", progress=progress):
        return HfApi(token=token).create_repo(repo_id, private=private, exist_ok=True).repo_id


def upload(
    folder: Path,
    repo_id: str,
    *,
    token: str | bool | None,
    commit_message: str,
    kept: Collection[str] = (),
    replaced: Callable[[str], bool] = lambda name: False,
    progress: bool = True,
) -> str:
    """Commit the files in `folder` to the Hub's `repo_id`, all of them in one commit; its address.

    Files named in `kept` are left as they are if they are there. Of the folders that are written to, files for whose
    names `replaced` is true are deleted in the same commit unless they are written.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    with one_line_errors(f"the Hub did not take {repo_id!r}", progress=progress):
        api = HfApi(token=token)
        there = set(api.list_repo_files(repo_id))
        files = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        added = {name: path for name, path in files.items() if name not in kept or name not in there}
        written = {name.rpartition("/")[0] for name in added}
        stale = [
            name for name in sorted(there - files.keys())
            if name.rpartition("/")[0] in written and replaced(name.rpartition("/")[2])
        ]  # fmt: skip
        # Not upload_folder: it may divide a folder among several commits.
        commit = api.create_commit(
            repo_id,
            [
                *(CommitOperationAdd(name, path) for name, path in added.items()),
                *(CommitOperationDelete(name) for name in stale),
            ],
            commit_message=commit_message,
        )
        return str(commit.commit_url)
