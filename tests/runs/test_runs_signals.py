"""A signal to stop at every stage of a run: it ends well, and the next start makes of it what it would have been."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch

from var import VQVAE
from var.cli import main
from var.recipes.vqvae.job import VQVAEJob
from var.runs import carrying_out, evaluation
from var.runs.folder import RunFolder
from var.training import periodic_evaluation
from var.training.checkpoints import CheckpointWriter, checkpoints, fault

SETTINGS = ["training.steps=4", "training.batch_size=4", "training.log_every=1", "evaluation.every=2", "vqvae.width=4"]
SETTINGS += ["vqvae.base_channels=2", "vqvae.norm_groups=2", "vqvae.vocabulary=16", "training.optimizer=adamw"]
SETTINGS += ["evaluation.samples=4", "evaluation.grid=4", "checkpoints.every=2"]


def command(output):
    words = [part for setting in SETTINGS for part in ("--set", setting)]
    plain = ["--preset", "digits", "--output", str(output), "--quiet", "--device", "cpu"]
    return ["train", "vqvae", "digits", *plain, *words]


def files(run):
    """Bytes of all that a run leaves, but for what tells the seconds, and for older checkpoints."""
    timed, older = ("manifest.json", "state.json", "finished.json"), ("step-1", "step-2", "step-3")
    paths = [path for path in run.rglob("*") if path.is_file() and path.parent.name not in older]
    return {str(path.relative_to(run)): path.read_bytes() for path in paths if path.name not in timed}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert main(command(folder)) == 0
    return files(folder)


STAGES = {  # and at which of its calls the signal comes
    "reading the command": (VQVAEJob, "of", 1),
    "taking the folder": (RunFolder, "claim", 1),
    "preparing": (VQVAEJob, "prepare", 1),
    "after the preparation": (carrying_out, "_introduction", 1),
    "an evaluation's picture": (evaluation, "save_pairs", 1),
    "writing the best weights": (periodic_evaluation, "save_tensors", 1),
    "ending a checkpoint": (CheckpointWriter, "finish", 1),
    "the last evaluation's picture": (evaluation, "save_pairs", 2),
    "writing the last checkpoint": (CheckpointWriter, "add", 4),
    "saving the model": (VQVAE, "save_pretrained", 1),
    "the last record": (RunFolder, "finish", 1),
}


@pytest.mark.parametrize("stage", STAGES)
def test_a_sigterm_at_every_stage_ends_well_and_loses_nothing(stage, whole, tmp_path, monkeypatch, capsys):
    """The one after the last step ended a run with -15 while it saved."""
    owner, name, often = STAGES[stage]
    real, calls = getattr(owner, name), []

    def signalled(*arguments, **options):
        calls.append(1)
        if len(calls) == often:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments, **options)

    run = tmp_path / "run"
    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, signalled)
        assert main(command(run)) == 0
    assert len(calls) >= often
    assert signal.getsignal(signal.SIGTERM) is before
    out = capsys.readouterr().out
    assert (run / "finished.json").exists() != ("run the same command again to go on in" in out)
    assert [fault(path) for path in checkpoints(run / "checkpoints")] == [None] * len(checkpoints(run / "checkpoints"))
    assert main(command(run)) == 0
    assert "finished 4 steps" in out + capsys.readouterr().out
    found = files(run)
    assert found.keys() == whole.keys()
    for file in whole:
        assert found[file] == whole[file], file


def test_a_process_that_ends_while_signals_come_ends_with_0(forker, tmp_path):
    log = tmp_path / "log"
    process = forker.start("training_runs.command_that_ends_while_signals_come", log, command(tmp_path / "run"))
    assert forker.wait(process) == 0, log.read_text()
    assert "signals came" in log.read_text()
    assert json.loads((tmp_path / "run" / "finished.json").read_text())["steps"] == 4


def test_ctrl_c_while_the_model_is_saved_can_be_repeated(tmp_path, monkeypatch, capsys):
    def interrupt(*_, **__):
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(VQVAE, "save_pretrained", interrupt)
        assert main(command(tmp_path / "run")) == 130
    assert "interrupted; run the same command again to go on" in capsys.readouterr().err
    assert not Path(tmp_path / "run" / ".lock").exists()
    assert main(command(tmp_path / "run")) == 0
    assert torch.isfinite(VQVAE.from_pretrained(tmp_path / "run").quantizer.codebook.weight).all()
