"""`--quiet` and `progress=False` keep back the bars of the libraries that download and upload, too."""

import os
import sys
from types import SimpleNamespace

import pytest
from huggingface_hub import utils as hub

from var import progress
from var.command_line import frame


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    for switch in progress._SWITCHES:
        monkeypatch.delenv(switch, raising=False)
    hub.enable_progress_bars()  # a command with --quiet, of another test, may have put them out
    yield
    hub.enable_progress_bars()


@pytest.fixture
def watched(monkeypatch):
    """As in a notebook."""
    monkeypatch.setitem(sys.modules, "ipykernel", SimpleNamespace())


def shows():
    return not hub.are_progress_bars_disabled()


def test_bars_are_shown_only_if_wanted_and_seen(watched, monkeypatch):
    with progress.bars(True):
        assert shows()
    with progress.bars(False):
        assert not shows()
        with progress.bars(False):
            assert not shows()
        assert not shows()  # the outer block still lasts
    assert shows()
    monkeypatch.delitem(sys.modules, "ipykernel")
    for stream, seen in ((SimpleNamespace(isatty=lambda: True), True), (SimpleNamespace(isatty=lambda: False), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        with progress.bars(True):
            assert shows() == seen
    monkeypatch.setattr(sys, "stderr", None)  # closed
    with progress.bars(True):
        assert not shows()
    assert shows()
    hub.disable_progress_bars()  # by the user, whose choice stays
    with progress.bars(False):
        pass
    assert not shows()


def test_every_call_of_the_hub_stands_inside(watched):
    from var.hub.remote.errors import one_line_errors

    for wanted in (True, False):
        with one_line_errors("it", progress=wanted):
            assert shows() == wanted


def test_loading_passes_its_wish_on(watched, monkeypatch, tmp_path):
    from var import VAR, VARPipeline
    from var.errors import UserError
    from var.hub.remote import downloads

    seen = []

    def asked(repo_id, source):
        seen.append(shows())
        raise OSError("no network here")

    monkeypatch.setattr(downloads, "_first_contact", asked)
    monkeypatch.chdir(tmp_path)
    for cls in (VAR, VARPipeline):
        for named in ({}, {"progress": False}):
            with pytest.raises(UserError, match="no network here"):
                cls.from_pretrained("me/model", **named)
    assert seen == [True, False, True, False]


@pytest.mark.parametrize("quiet", [True, False])
def test_the_option_silences_the_process_and_its_children(watched, monkeypatch, quiet):
    def add_arguments(parser):
        parser.add_argument("--quiet", action="store_true")

    command = SimpleNamespace(HELP="", add_arguments=add_arguments, run=lambda arguments: seen.append(shows()))
    seen = []
    monkeypatch.setitem(sys.modules, "quiet_command", command)
    assert frame.run("prog", "", {"work": "quiet_command"}, ["work", *["--quiet"] * quiet]) == 0
    assert seen == [not quiet]
    assert [os.environ.get(switch) for switch in progress._SWITCHES] == (["1"] * 2 if quiet else [None] * 2)
