"""What can only be a path is never asked of the Hub; every answer of the Hub becomes one line."""

import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import errors
from huggingface_hub.utils import httpx
from tiny_models import Tiny, one_line

from var.hub.remote import existing_path, find_file

ROOT = Path(__file__).parents[2]


@pytest.fixture
def no_hub(monkeypatch):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: pytest.fail("the Hub was asked"))


@pytest.mark.parametrize("path", ["./absent", "../absent", "~/absent", "/absent/model", "a/b/c", "runs\\tiny", "."])
def test_what_looks_local_is_never_asked_of_the_hub(no_hub, tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with one_line("(a local model must be an existing folder, but there is no|.*config.json must be a JSON file)"):
        Tiny.from_pretrained(path)


def test_a_mistyped_path_gets_a_suggestion(no_hub, saved):
    with one_line(f"a local model must be an existing folder, but there is no {saved}s; did you mean 'tiny'"):
        Tiny.from_pretrained(f"{saved}s")
    with one_line("a saved model is a folder, got .*config.json, but it is a file; give"):
        Tiny.from_pretrained(saved / "config.json")
    with one_line("a saved model is a folder, got .*vqvae, but there is none; give"):
        Tiny.from_pretrained(saved, subfolder="vqvae")


@pytest.mark.parametrize("repo_id", ["", "two words", "name?", "a/", "/b/"])
def test_what_cannot_be_an_id_is_refused(no_hub, tmp_path, monkeypatch, repo_id):
    monkeypatch.chdir(tmp_path)
    with one_line("(a model must be an existing folder or a Hub id|a local model must|a path must be a text)"):
        Tiny.from_pretrained(repo_id)


@pytest.mark.parametrize("subfolder", ["../other", "/etc", "a/../../b", "a\\b"])
def test_a_subfolder_cannot_leave_the_folder(no_hub, saved, subfolder):
    with one_line("subfolder must lie inside the model's folder, got"):
        Tiny.from_pretrained(saved, subfolder=subfolder)


def answer(kind, status):
    response = httpx.Response(status, request=httpx.Request("GET", "https://hub.invalid/me/tiny"))
    return kind("line one\nline two", response=response)


ANSWERS = [
    (answer(errors.RepositoryNotFoundError, 404), "there is no such model, or it is private; correct the path or the"),
    (answer(errors.RevisionNotFoundError, 404), "it has no such revision; name a branch"),
    (answer(errors.GatedRepoError, 403), "access is gated; ask for it"),
    (answer(errors.HfHubHTTPError, 401), "status 401, not allowed; pass a token"),
    (answer(errors.HfHubHTTPError, 404), "there is no such model, or it is private; correct the path or the"),
    (answer(errors.HfHubHTTPError, 418), "it answers with status 418; correct the path or the id, or try again"),
    (answer(errors.HfHubHTTPError, 500), "it answers with status 500; correct the path or the id, or try again"),
    (
        errors.LocalEntryNotFoundError("nothing in the cache"),
        "it is not in the cache, and the Hub is out of reach or not to be asked",
    ),
    (errors.OfflineModeIsEnabled("offline"), "it is not in the cache, and the Hub is out of reach or not"),
    (httpx.ConnectError("no route"), r"it is out of reach \(no route\); correct"),
    (errors.HFValidationError("bad id"), "bad id; try again"),
    (OSError(28, "No space left on device"), r"\[Errno 28\] No space left on device; try again"),
]


@pytest.mark.parametrize(("error", "message"), ANSWERS)
def test_every_answer_of_the_hub_is_one_line(monkeypatch, tmp_path, error, message):
    def fail(*args, **options):
        raise error

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with one_line(f"there is no folder 'me/tiny' here, and the Hub did not give it: {message}") as caught:
        Tiny.from_pretrained("me/tiny")
    assert "\n" not in str(caught.value)


def test_a_near_folder_is_suggested_for_what_might_be_an_id(saved, monkeypatch):
    monkeypatch.chdir(saved.parent.parent)
    with one_line("there is no folder '.*/tinny' here, .*; did you mean 'tiny'\\?, or correct the id, or"):
        Tiny.from_pretrained(f"{saved.parent.name}/tinny", local_files_only=True)


def test_one_file_of_a_folder(no_hub, saved):
    assert find_file(saved, "config.json") == saved / "config.json"
    assert find_file(saved.parent, "config.json", subfolder="tiny") == saved / "config.json"
    assert find_file(saved.parent, "tiny/config.json") == saved / "config.json"
    with one_line(".*tiny/confg.json must be a file, but there is none; did you mean 'config.json'"):
        find_file(saved, "confg.json")
    with one_line("filename must lie inside the model's folder, got '../x'"):
        find_file(saved, "../x")
    with one_line("a local model must be an existing folder, but there is no"):
        find_file(saved / "absent", "config.json")


def test_what_is_here_and_what_may_be_an_id(no_hub, saved):
    assert existing_path(str(saved)) == saved
    assert existing_path("me/tiny") is None
    with one_line(f"a local model must be an existing folder, but there is no {saved}s; did you mean 'tiny'"):
        existing_path(f"{saved}s")
    with one_line("a model must be an existing folder or a Hub id"):
        existing_path("two words")


def test_a_missing_path_is_named_without_torch():
    code = "import sys; from var.hub.remote import existing_path; existing_path('a/b'); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert found.stdout == "False\n"
