"""One owner of a folder: other processes and threads are told who it is, and a killed one is none."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from var import locks
from var.errors import UserError
from var.locks import sole_owner

HOLD = """
import os, sys, time
from var.locks import sole_owner
with sole_owner(sys.argv[1]):
    # A child is not awake yet when `fork` returns to its parent, so it is the child that tells.
    if "fork" not in sys.argv or os.fork() == 0:
        print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds a folder, and may have a child."""
    started = []

    def hold(folder, *words):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(folder), *words],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()


def test_another_process_is_named_and_a_killed_one_lets_go(holder, tmp_path):
    process = holder(tmp_path / "out", "fork")
    expected = (
        f"process {process.pid} on {socket.gethostname()} is at work in .*out; wait for its end, or choose another"
    )
    with pytest.raises(UserError, match=expected), sole_owner(tmp_path / "out"):
        pass
    process.kill()
    process.wait()
    # Its child lives on.
    with sole_owner(tmp_path / "out"):
        assert (tmp_path / "out" / ".lock").read_text().split()[0] == str(os.getpid())
    assert not (tmp_path / "out" / ".lock").exists()


def test_threads_exclude_each_other(tmp_path):
    entered, refused, done = threading.Event(), [], threading.Event()

    def first():
        with sole_owner(tmp_path):
            entered.set()
            done.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert entered.wait(10)
    try:
        with sole_owner(tmp_path):
            pass
    except UserError as error:
        refused.append(str(error))
    done.set()
    thread.join()
    assert "another one in this process is at work in" in refused[0]
    with sole_owner(tmp_path):
        pass


def test_of_many_at_once_exactly_one_is_in(tmp_path):
    inside, most, turns = [], [], []

    def work():
        for _ in range(200):
            with suppress(UserError), sole_owner(tmp_path / "new" / "out"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0)
                inside.pop()
                turns.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(most) == {1}
    assert turns


def test_a_folder_that_was_made_and_stayed_empty_goes_and_others_stay(tmp_path):
    with sole_owner(tmp_path / "a" / "b"):
        pass
    assert list(tmp_path.iterdir()) == []
    with sole_owner(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "kept").touch()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["kept"]


def test_a_lock_file_that_is_none_is_refused(tmp_path):
    os.mkfifo(tmp_path / ".lock")
    with pytest.raises(UserError, match="lock must be a regular file, got a pipe; remove it"), sole_owner(tmp_path):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="must be writable"), sole_owner(tmp_path / "file"):
        pass


def test_where_there_are_no_locks_everybody_is_let_in(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    with sole_owner(tmp_path), sole_owner(tmp_path):
        pass
