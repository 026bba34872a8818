"""One start of a run: signals while it is prepared, and how a bad image is told."""

import json
import os
import signal
import time

import pytest
import torch
from PIL import Image

from var.cli import main
from var.training.signals import StoppedError, StopSignals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_stops_the_preparation_and_handlers_are_put_back(number):
    before = signal.getsignal(number)

    def prepare():
        with StopSignals(raising=True):
            os.kill(os.getpid(), number)
            time.sleep(10)  # Python hears of a signal between two of its own instructions

    with pytest.raises(StoppedError):
        prepare()
    assert signal.getsignal(number) is before


def test_a_signal_before_the_first_step_leaves_a_run_that_goes_on(tmp_path, monkeypatch, capsys):
    from var.recipes.vqvae.job import VQVAEJob

    command = ["train", "vqvae", "digits", "--preset", "digits", "--output", str(tmp_path / "run"), "--quiet"]
    for setting in ("training.steps=1", "training.batch_size=4", "evaluation.every=0", "vqvae.kmeans_init=false"):
        command += ["--set", setting]
    with monkeypatch.context() as patch:
        patch.setattr(VQVAEJob, "prepare", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        assert main(command) == 0
    assert "stopped before the first step; run the same command again" in capsys.readouterr().out
    assert main(command) == 0
    assert "finished 1 step in" in capsys.readouterr().out


def test_a_finished_run_is_trained_on_when_more_steps_are_asked_for(tmp_path, capsys, caplog):
    def train(steps):
        command = ["train", "vqvae", "digits", "--preset", "digits", "--output", str(tmp_path / "run"), "--quiet"]
        for setting in (f"training.steps={steps}", "training.batch_size=4", "evaluation.every=0"):
            command += ["--set", setting]
        status = main([*command, "--set", "vqvae.kmeans_init=false"])
        return status, *capsys.readouterr()

    assert "finished 2 steps in" in train(2)[1]
    assert "is a finished run of 2 steps; nothing is left to do (more training.steps train it on)" in train(2)[1]
    status, out, _ = train(4)
    assert status == 0
    assert "went on from step 2, finished 4 steps in" in out
    assert "is of a run of 2 steps, which goes on to 4" in caplog.text
    assert json.loads((tmp_path / "run" / "finished.json").read_text())["steps"] == 4
    status, _, error = train(3)
    assert status == 2
    assert "has 4 steps, got training.steps=3; ask for 4 or more" in error


def test_a_bad_image_stops_the_run_or_is_skipped_and_told(tmp_path, capsys):
    generator = torch.Generator().manual_seed(0)
    for index in range(12):
        pixels = torch.randint(0, 256, (8, 8), generator=generator, dtype=torch.uint8).numpy()
        (tmp_path / "data" / "a").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "data" / "a" / f"{index:02d}.png")
    bad = tmp_path / "data" / "a" / "03.png"
    bad.write_bytes(bad.read_bytes()[:60])
    command = ["train", "vqvae", str(tmp_path / "data"), "--preset", "digits", "--quiet"]
    for setting in ("training.steps=2", "training.batch_size=12", "evaluation.every=1", "vqvae.kmeans_init=false"):
        command += ["--set", setting]
    assert main([*command, "--output", str(tmp_path / "one")]) == 2
    assert str(bad) in capsys.readouterr().err
    assert main([*command, "--output", str(tmp_path / "two"), "--on-bad-image", "skip"]) == 0
    assert str(bad) in capsys.readouterr().out
