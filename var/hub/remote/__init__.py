"""The one place that talks to the Hugging Face Hub."""

from var.hub.remote.downloads import Source, find_file, find_folder, find_snapshot
from var.hub.remote.paths import existing_path
from var.hub.remote.uploads import create_repository, upload

__all__ = ["Source", "create_repository", "existing_path", "find_file", "find_folder", "find_snapshot", "upload"]
