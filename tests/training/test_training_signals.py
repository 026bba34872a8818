"""Requests to stop: remembered once, obeyed at once the second time, and only inside the block."""

import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from training_runs import outcome, rich_run
from training_tasks import Plain, make_data

from var.training import TrainingConfig, train
from var.training.checkpoints import checkpoints, fault, step_of
from var.training.signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_first_is_remembered_the_second_has_its_old_effect_and_handlers_come_back(number):
    heard = []

    def mine(received, frame):
        heard.append(received)

    before = signal.signal(number, mine)
    try:
        with StopSignals() as signals:
            assert not signals.requested()
            os.kill(os.getpid(), number)
            assert signals.requested()
            assert heard == []
            os.kill(os.getpid(), number)
            assert heard == [number]
        assert signal.getsignal(number) is mine
        with StopSignals() as signals:
            assert not signals.requested()
        os.kill(os.getpid(), number)
        assert heard == [number, number]
    finally:
        signal.signal(number, before)


def test_other_threads_are_left_alone():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        with StopSignals() as signals:
            seen.append((signals.requested(), signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_handlers_are_set_only_where_there_is_something_to_save(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    seen = []
    task = Plain(hook=lambda step: seen.append(signal.getsignal(signal.SIGTERM)))
    train(task, make_data(), TrainingConfig(steps=1, batch_size=8), progress=False, device="cpu")
    assert seen == [before]
    rich_run(tmp_path, steps=1, hook=lambda step: seen.append(signal.getsignal(signal.SIGTERM)))
    assert seen[1] is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_handlers_come_back_after_an_error(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)]

    def fail(step):
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        rich_run(tmp_path, hook=fail)
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)] == before


def test_a_signal_in_the_last_step_stops_nothing(tmp_path):
    _, result = rich_run(
        tmp_path, steps=3, hook=lambda step: os.kill(os.getpid(), signal.SIGTERM) if step == 2 else None
    )
    assert (result.finished, result.steps) == (True, 3)


def test_a_signal_to_the_whole_group_leaves_the_workers_to_the_run(forker, tmp_path):
    """As Slurm and `kill -TERM -GROUP` send it: to the run, its two workers, and the helpers that Python starts."""
    rich_run(tmp_path / "whole")
    folders = {signal.SIGTERM: tmp_path / "term", signal.SIGUSR1: tmp_path / "usr1"}
    runs = {
        number: forker.start("run_with_workers", tmp_path / f"output-{number}", folder=folder)
        for number, folder in folders.items()
    }
    waiting = dict(runs)
    until = time.monotonic() + 120
    try:
        while waiting:
            assert time.monotonic() < until
            time.sleep(0.02)
            for number, pid in list(waiting.items()):
                assert forker.poll(pid) is None, (tmp_path / f"output-{number}").read_text()
                log = folders[number] / "log.jsonl"
                if log.exists() and "step" in log.read_text():
                    time.sleep(0.05)  # batches come in pairs: now it waits for the next
                    os.killpg(pid, number)
                    waiting.pop(number)
        for number, pid in runs.items():
            assert forker.wait(pid) == 0, (tmp_path / f"output-{number}").read_text()
        while any(map(group_is_alive, runs.values())):  # the helpers end with the run
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        for pid in runs.values():
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
    for number, folder in folders.items():
        assert "Traceback" not in (tmp_path / f"output-{number}").read_text()
        result = json.loads((folder / "result.json").read_text())
        assert result["finished"] is False
        newest = checkpoints(folder)[0]
        assert step_of(newest) == result["steps"] >= 5
        assert fault(newest) is None
        _, resumed = rich_run(folder)
        assert resumed.resumed_from == result["steps"]
        assert outcome(folder) == outcome(tmp_path / "whole")


def group_is_alive(group):
    """Whether a process of the group runs; not one that is dead and that nobody has asked about."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, process_group = path.read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state not in "ZX":
                return True
    return False
