"""Files and folders that exist whole or not at all."""

import os
import subprocess

import pytest

from var.errors import UserError
from var.files import atomic_folder, is_unfinished, remove_folder, sweep


def ended_process():
    """The number of a process that does not run."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def fill(folder, text="new"):
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_text(text)


def test_a_folder_takes_its_name_when_it_is_full_and_replaces_an_older_one(tmp_path):
    target = tmp_path / "parents" / "target"
    for text in ("old", "new"):
        with atomic_folder(target) as folder:
            fill(folder, text)
            assert not target.exists() or (target / "sub" / "file").read_text() == "old"
        assert (target / "sub" / "file").read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_folder_of_which_the_making_fails_is_as_before(tmp_path):
    def fail(target):
        with atomic_folder(target) as folder:
            fill(folder)
            raise RuntimeError("broken")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            fail(tmp_path / "target")
        assert [path.name for path in tmp_path.iterdir() if path.name != "target"] == []
        (tmp_path / "target").mkdir(exist_ok=True)
    assert list((tmp_path / "target").iterdir()) == []


def test_what_another_process_put_there_meanwhile_stays_if_asked(tmp_path):
    target = tmp_path / "target"
    with atomic_folder(target, replace=False) as folder:
        fill(folder)
        target.mkdir()
        fill(target, "theirs")
    assert (target / "sub" / "file").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="target must be writable, but: "), atomic_folder(tmp_path / "file" / "target"):
        pass


def test_a_folder_is_gone_at_once_or_whole(tmp_path, monkeypatch):
    (tmp_path / "old").mkdir()
    fill(tmp_path / "old")
    monkeypatch.setattr("shutil.rmtree", lambda path, **options: None)  # killed before it
    remove_folder(tmp_path / "old")
    (left,) = tmp_path.iterdir()
    assert is_unfinished(left)
    assert left.name.startswith(f".old.{os.getpid()}-")


def test_sweeping_spares_what_is_being_written_unless_nobody_else_writes(tmp_path):
    gone, parent = ended_process(), os.getppid()
    names = [f".a.{gone}.tmp", f".b.{gone}.trash", f".b.{parent}.tmp", "a", ".a.tmp", ".a.1"]
    for name in names:
        (tmp_path / name).mkdir()
        fill(tmp_path / name)
    (tmp_path / f".a-file.{gone}.tmp").write_text("")

    def left():
        return sorted(path.name for path in tmp_path.iterdir())

    sweep(tmp_path, lambda name: name.startswith("a"))
    assert left() == sorted(names[1:])
    sweep(tmp_path)
    assert left() == sorted(names[2:])
    sweep(tmp_path, alone=True)
    assert left() == sorted(names[3:])
