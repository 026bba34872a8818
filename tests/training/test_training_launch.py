"""The launcher's line of the documents as it stands, and where processes find themselves: on a GPU, or without one."""

import json
import os
import re
import shlex
import signal

import pytest
import torch
from processes import ROOT, wait_until

from var.errors import UserError
from var.training import distributed
from var.training.checkpoints import checkpoints, fault, step_of
from var.training.distributed import Processes

TINY = ["training.steps=100000", "training.batch_size=4", "training.log_every=1", "evaluation.every=0", "vqvae.width=4"]
TINY += ["vqvae.base_channels=2", "vqvae.norm_groups=2", "vqvae.vocabulary=16", "training.optimizer=adamw"]


def documented_line():
    """The words after `python` of the line for several processes, `...` replaced by a small training."""
    line = re.search(
        r"`python (-m torch\.distributed\.run [^`]*?) \.\.\.`", (ROOT / "docs" / "many-gpus.md").read_text()
    )[1]
    settings = [part for setting in TINY for part in ("--set", setting)]
    return [*shlex.split(line)[1:], "vqvae", "digits", "--preset", "digits", "--quiet", *settings]


def test_the_line_of_the_documents_trains_on_two_processes_without_a_gpu_and_a_sigterm_to_it_saves(forker, tmp_path):
    """F2: it ended with "asked for 2 process(es), got 1; start them with torchrun"."""
    run, output = tmp_path / "run", tmp_path / "log"
    variables = {"PYTHONPATH": ROOT, "CUDA_VISIBLE_DEVICES": ""}
    words = [*documented_line(), "--output", run]
    launcher = forker.start("processes.run_module", output, *words, environment=variables)

    def logs_steps():
        assert forker.poll(launcher) is None, output.read_text()
        return (run / "log.jsonl").exists() and "step" in (run / "log.jsonl").read_text()

    wait_until(logs_steps, seconds=240)
    os.kill(launcher, signal.SIGTERM)
    forker.wait(launcher, seconds=60)
    # The launcher ends with an error of its own, but not before its processes have ended.
    assert "run the same command again to go on" in output.read_text()
    newest, *_ = checkpoints(run / "checkpoints")
    assert fault(newest) is None
    facts = json.loads((newest / "state.json").read_text())
    assert facts["processes"] == 2
    assert step_of(newest) > 0


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that there are so many GPUs."""

    def pretend(count):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)

    return pretend


@pytest.mark.skipif(torch.cuda.is_available(), reason="the GPU here can be used")
def test_a_gpu_that_cannot_be_used_is_left_alone_and_that_is_said(gpus, caplog):
    gpus(1)
    assert not distributed._accelerator_works()
    assert "device 'cuda:0' cannot be used here" in caplog.text
    assert "trains on the CPU" in caplog.text


def test_more_processes_than_gpus_are_refused(gpus, monkeypatch):
    gpus(1)
    looked_at = []
    monkeypatch.setattr(distributed, "check_device", looked_at.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(UserError, match=r"needs a GPU of its own, got 2 processes for 1 here; .*--device cpu"):
        Processes()
    assert looked_at == ["cuda:0"]
    gpus(2)
    assert distributed._accelerator_works()
    assert looked_at[1:] == ["cuda:1"]


def test_who_waits_for_an_object_of_another_gpu_keeps_neither_busy(gpus, monkeypatch):
    gpus(2)
    assert "backend" not in distributed._group(cpu=False).to_kwargs()  # alone, accelerate wants none
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert distributed._group(cpu=False).to_kwargs()["backend"] == "cpu:gloo,cuda:nccl"
    assert "backend" not in distributed._group(cpu=True).to_kwargs()


@pytest.mark.parametrize("device", ["cpu:3", "cuda:1", "gpu", ""])
def test_a_device_that_accelerate_does_not_use_is_refused_not_replaced(device):
    Processes("cpu")
    with pytest.raises(UserError, match=f"here 'cpu', got '{device}'; leave the device out"):
        Processes(device)


@pytest.mark.parametrize("name", ["WORLD_SIZE", "RANK", "LOCAL_RANK"])
def test_an_environment_of_words_is_refused(monkeypatch, name):
    monkeypatch.setenv(name, "two")
    with pytest.raises(UserError, match=f"environment's {name} must be a whole number, got 'two'"):
        Processes()
