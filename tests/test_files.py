"""Files and folders that exist whole or not at all."""

import os
import resource
import signal
import stat
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from var.errors import UserError
from var.files import (
    atomic_file,
    atomic_folder,
    check_output,
    is_unfinished,
    make_folder,
    remove_folder,
    sweep,
    write_text,
)


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


def test_only_regular_files_are_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    (tmp_path / "folder").mkdir()
    for name, kind in (("pipe", "a pipe"), ("null", "a device"), ("folder", "a folder")):
        with pytest.raises(UserError, match=f"{name} must be a regular file or new, got {kind}; name another file"):
            write_text(tmp_path / name, "text")
        with pytest.raises(UserError, match=r"got a|is a folder"):
            check_output(tmp_path / name)
    with pytest.raises(UserError, match="/dev/null must be a regular file or new, got a device"):
        write_text("/dev/null", "text")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "null", "pipe"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    for name, target in (("link", tmp_path / "elsewhere" / "file"), ("broken", tmp_path / "new" / "file")):
        (tmp_path / name).symlink_to(target)
        check_output(tmp_path / name)
        write_text(tmp_path / name, "text")
        assert (tmp_path / name).is_symlink()
        assert target.read_text() == "text"
        assert len(list(target.parent.iterdir())) == 1


@pytest.mark.parametrize("mask", [0o077, 0o027, 0o022, 0])
def test_who_may_read_is_as_for_any_new_file(tmp_path, mask):
    from safetensors.torch import save_file

    before = os.umask(mask)
    try:
        (tmp_path / "plain").write_text("")
        write_text(tmp_path / "text", "")
        with atomic_file(tmp_path / "weights") as file:
            save_file({}, file)  # leaves 0600
        with atomic_folder(tmp_path / "folder") as folder:
            (folder / "inside").write_text("")
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert modes["text"] == modes["weights"] == modes["inside"] == modes["plain"] == 0o666 & ~mask
    assert modes["folder"] == 0o777 & ~mask


def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path, forker):
    write_text(tmp_path / "file", "old")

    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(UserError, match="must be writable, but: File too large; choose another place or make room"):
            write_text(tmp_path / "file", "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_the_home_folder_is_no_folder_called_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    write_text("~/a/file", "text")
    make_folder("~/b")
    check_output("~/c/file")
    with atomic_folder("~/d"):
        pass
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == ["a", "b", "c", "d"]
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


def test_names_that_utf_8_cannot_say_do_not_end_the_work(tmp_path):
    write_text(tmp_path / "file", "half \udcff")
    assert (tmp_path / "file").read_text() == r"half \udcff"
    write_text(tmp_path / ("x" * 250), "long name")
    assert (tmp_path / ("x" * 250)).read_text() == "long name"


def test_threads_that_write_one_place_leave_one_whole_thing(tmp_path):
    def write(number):
        for _ in range(20):
            write_text(tmp_path / "file", str(number) * 1000)
            with atomic_folder(tmp_path / "folder") as folder:
                fill(folder, str(number) * 1000)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    for path in (tmp_path / "file", tmp_path / "folder" / "sub" / "file"):
        assert len(set(path.read_text())) == 1
        assert len(path.read_text()) == 1000


def test_what_another_machine_writes_is_spared_for_a_day(tmp_path):
    # A process of this number may well run there: only its own machine knows.
    young, old = (tmp_path / f".{name}.{ended_process()}-0123abcd-00ff00.tmp" for name in ("young", "old"))
    for path in (young, old):
        path.write_text("")
    os.utime(old, (time.time() - 90_000,) * 2)
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [young]
    sweep(tmp_path, alone=True)
    assert list(tmp_path.iterdir()) == []
