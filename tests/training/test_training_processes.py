"""Processes that are killed at any moment, and several that train as one."""

import json
import os
import random
import signal
import time
from contextlib import suppress

import pytest
import torch
from processes import start_pair
from training_runs import CONFIG, SHORT, convolution_run, images_of, outcome, plain_run, rich_run

from var.errors import UserError
from var.training import PeriodicEvaluation
from var.training.checkpoints import checkpoints, fault, step_of
from var.training.distributed import Processes


def test_sigkill_at_ten_random_moments_half_of_them_while_saving(forker, tmp_path):
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    rich_run(whole, every=1)
    draw = random.Random(20261122)
    done = kills = attempts = 0
    while kills < 10:
        # About 60 events a step: on average a step is made and saved between two kills. Those from outside, at any
        # moment, do not wait for more than two, so that a fast machine is not done before the tenth.
        outside = attempts % 2 == 0
        events = 130 if outside else draw.randrange(10, 130)
        delay = draw.uniform(0.02, 0.3)
        attempts += 1
        pid = forker.start("killed_run", tmp_path / "output", folder=str(folder), events=events)
        if outside:
            # A random while after the first sign of life, when the imports are done.
            before = (folder / "log.jsonl").stat().st_mtime_ns if (folder / "log.jsonl").exists() else 0
            while not ((folder / "log.jsonl").exists() and (folder / "log.jsonl").stat().st_mtime_ns > before):
                if forker.poll(pid) is not None:
                    break
                time.sleep(0.005)
            time.sleep(delay)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        status = forker.wait(pid)
        if status == 0:
            break  # it came to its end
        assert status == -signal.SIGKILL, (tmp_path / "output").read_text()
        kills += 1
        found = checkpoints(folder)
        assert [fault(path) for path in found] == [None] * len(found)
        newest = step_of(found[0]) if found else 0
        assert newest >= done  # nothing that was saved is ever lost
        done = newest
    forker.run("killed_run", tmp_path / "output", folder=str(folder))

    assert kills == 10
    assert json.loads((folder / "result.json").read_text())["resumed_from"] == done
    assert outcome(folder) == outcome(whole)


@pytest.fixture(scope="module")
def pair(forker, tmp_path_factory):
    """The folder in which two processes trained together, and their reports."""
    folder = tmp_path_factory.mktemp("pair")
    statuses, _ = start_pair(forker, "as_one_of_two", folder / "output", folder=str(folder))
    assert statuses == [0, 0], "".join((folder / f"output-{rank}").read_text() for rank in range(2))
    return folder, [json.loads((folder / f"report-{rank}.json").read_text()) for rank in range(2)]


def assert_close(rows, others):
    assert len(rows) == len(others)
    for row, other in zip(rows, others, strict=True):
        assert row == pytest.approx(other, rel=1e-5, abs=1e-6)


KINDS = {
    "ddp": {},
    "accumulation": {},
    "noise": {"noise": 0.5},
    "fsdp": {},
    "fsdp noise": {"noise": 0.5, "ema_decay": 0.5},
    "muon": {"optimizer": "muon"},
    "fsdp muon": {"optimizer": "muon", "ema_decay": 0.5},
}


@pytest.mark.parametrize("name", KINDS)
def test_two_processes_train_like_one_at_the_same_global_batch(name, pair):
    settings, reports = KINDS[name], pair[1]
    # Noise belongs to a part of the global batch: to have two parts in one process, it takes two micro-batches.
    task, result = plain_run(**settings, steps=SHORT, accumulation=2 if settings else 1)
    assert result.history[-1]["loss"] < result.history[0]["loss"]
    for report in reports:
        assert_close(report[name], result.history)
    assert reports[0][f"{name} weight"] == reports[1][f"{name} weight"]
    torch.testing.assert_close(torch.tensor(reports[0][f"{name} weight"]), task.model.last.weight.detach())


def test_sharded_convolutions_train_like_whole_ones_in_any_memory_layout(pair):
    history, weight = convolution_run(steps=SHORT)
    for report in pair[1]:
        assert_close(report["convolutions"][0], history)
        torch.testing.assert_close(torch.tensor(report["convolutions"][1]), torch.tensor(weight))


def test_two_processes_stop_together_and_resume_bit_for_bit(pair):
    folder, reports = pair
    assert [report["stopped"] for report in reports] == [[False, 13]] * 2
    assert outcome(folder / "parts") == outcome(folder / "whole")


def test_a_nan_on_one_process_stops_both_before_the_step_and_is_named(pair):
    images = ", ".join(f"images[{index}]" for index in images_of(6, rank=1, processes=2))
    for report in pair[1]:
        assert f"at step 7 of rank 1 (images: {images})" in report["refused"]
        assert report["finite"]


def test_a_parameter_without_a_gradient_is_named_unless_the_task_knows(pair):
    for report in pair[1]:
        assert "but none came to unused.weight, unused.bias; freeze what is not used" in report["unused False"]
        assert "unused True" not in report


def test_sharded_weights_are_evaluated_saved_and_resumed_by_any_number_of_processes(pair, caplog):
    folder, reports = pair
    looks, spread = [], {"ema_decay": 0.5, "optimizer": "muon"}
    look = PeriodicEvaluation(every=4, run=lambda step, model: looks.append(model.last.weight.tolist()) or {})
    whole, expected = plain_run(**spread, evaluate=look)
    for rank, report in enumerate(reports):
        resumed_from, history, weight, seen = report["sharded"]
        assert resumed_from == 11
        assert_close(history, expected.history[-len(history) :])
        torch.testing.assert_close(torch.tensor(weight), whole.model.last.weight.detach())
        torch.testing.assert_close(torch.tensor(seen), torch.tensor([] if rank else looks))
    alone, result = plain_run(folder / "unsharded", **spread)
    assert result.resumed_from == 11
    torch.testing.assert_close(alone.model.state_dict(), whole.model.state_dict())


def test_a_checkpoint_of_two_processes_goes_on_with_one(pair, caplog):
    _, whole = plain_run()
    _, result = plain_run(pair[0] / "world")
    assert result.resumed_from == 11
    assert_close(result.history, whole.history[11:])
    assert "saved by 2 process(es) x 1 micro-batch(es) and goes on with 1 x 1" in caplog.text


def test_fewer_processes_than_asked_for(monkeypatch):
    Processes("cpu")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="WORLD_SIZE=2 asks for several processes, but lacks RANK, LOCAL_RANK"):
        Processes("cpu")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    with pytest.raises(UserError, match=r"asked for 2 process\(es\), got 1; start them with python -m"):
        Processes("cpu")
    monkeypatch.delenv("WORLD_SIZE")
    # What `accelerate launch --cpu --num_processes 2` leaves in the environment of the one process that it starts.
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    monkeypatch.setenv("MASTER_PORT", "29500")
    with pytest.raises(UserError, match="asked for several processes on the CPU, but starts one"):
        Processes("cpu")


def test_a_batch_that_cannot_be_cut():
    with pytest.raises(UserError, match=r"1 process\(es\) x 3 micro-batch\(es\), got 8; use a multiple of 3"):
        plain_run(accumulation=3)
    with pytest.raises(UserError, match="over several processes, got one"):
        plain_run(sharding="fsdp")
    assert CONFIG["batch_size"] == 8
