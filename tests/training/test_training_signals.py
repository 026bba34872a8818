"""Requests to stop: remembered once, obeyed at once the second time, and only inside the block."""

import json
import os
import re
import signal
import threading
import time
from contextlib import suppress

import pytest
from processes import is_group_running, wait_until
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


def test_a_signal_to_the_whole_group_leaves_the_workers_to_the_run_and_they_end_with_it(forker, tmp_path):
    """As Slurm and `kill -TERM -GROUP` send it: to the run, its two workers, and the helpers that Python starts."""
    whole, folder, output = tmp_path / "whole", tmp_path / "run", tmp_path / "output"
    rich_run(whole)
    run, done = forker.start("run_with_workers", output, folder=folder, starts=3), 0

    def wait(condition):
        def so():
            assert (ended := forker.poll(run)) is None, (ended, output.read_text())
            return condition()

        wait_until(so, seconds=120)

    try:
        for start, number in enumerate((signal.SIGTERM, signal.SIGUSR1)):
            wait(lambda done=done: logged_after(folder, done))
            time.sleep(0.05)  # batches come in pairs: now it waits for the next
            os.killpg(run, number)
            wait((folder / f"result-{start}.json").exists)
            result = json.loads((folder / f"result-{start}.json").read_text())
            assert result["finished"] is False
            assert result["steps"] > done
            done = result["steps"]
        wait(lambda: logged_after(folder, done))
        said = output.read_text()
        os.kill(run, signal.SIGKILL)  # nobody tells the others, which may then complain
        assert forker.wait(run) == -signal.SIGKILL
        wait_until(lambda: not is_group_running(run))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run, signal.SIGKILL)
    assert "Traceback" not in said
    newest = checkpoints(folder)[0]
    assert step_of(newest) >= done >= 5
    assert fault(newest) is None
    _, resumed = rich_run(folder)
    assert resumed.resumed_from == step_of(newest)
    assert outcome(folder) == outcome(whole)


def logged_after(folder, step):
    """Whether a row of the log tells of a later step."""
    log = folder / "log.jsonl"
    rows = log.read_text().splitlines() if log.exists() else []
    return any(int(found[1]) > step for found in map(re.compile(r'"step": ?(\d+).*}$').search, rows) if found)
