"""Trackers: rows go to what was asked for, and what is not installed is named."""

import pytest
from training_tasks import Plain, make_data

from var.errors import UserError
from var.training import TrainingConfig, tracking, train
from var.training.tracking import Trackers


def test_unknown_and_missing_trackers(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="unknown tracker 'tensorbord'; did you mean 'tensorboard'"):
        Trackers(["tensorbord"], tmp_path, "run", {})
    monkeypatch.setattr(tracking, "get_available_trackers", list)
    with pytest.raises(
        UserError, match=r"'wandb' needs a package that is missing; run pip install .next-scale.tracking"
    ):
        Trackers(["wandb"], tmp_path, "run", {})
    monkeypatch.setattr(tracking, "get_available_trackers", lambda: ["tensorboard"])
    with pytest.raises(UserError, match="need a folder to write into"):
        Trackers(["tensorboard"], None, "run", {})


def test_rows_reach_the_services(tmp_path, monkeypatch):
    calls = []

    class Service:
        def finish(self):
            calls.append("finish")

    class Accelerator:
        def __init__(self, log_with, project_config):
            calls.append((log_with, project_config.logging_dir))
            self.trackers = [Service()]

        def init_trackers(self, run, config, init_kwargs):
            assert init_kwargs["trackio"] == {"name": tmp_path.name, "resume": "allow"}
            assert init_kwargs["wandb"]["dir"] == str(tmp_path)
            assert init_kwargs["wandb"]["id"].startswith(f"{tmp_path.name}-")
            calls.append((run, config["betas"], config["steps"]))

        def log(self, values, step):
            calls.append((step, values))

    monkeypatch.setattr(tracking, "get_available_trackers", lambda: ["tensorboard"])
    monkeypatch.setattr(tracking, "Accelerator", Accelerator)
    config = TrainingConfig(steps=4, batch_size=8, log_every=2)
    options = {"progress": False, "device": "cpu", "log": tmp_path / "log.jsonl", "trackers": ["tensorboard"]}
    result = train(Plain(), make_data(), config, description="vqvae", **options)
    assert calls[:2] == [(["tensorboard"], str(tmp_path)), ("vqvae", "(0.9, 0.95)", 4)]
    rows = [
        (int(row["step"]), {name: value for name, value in row.items() if name != "step"}) for row in result.history
    ]
    assert calls[2:] == [*rows, "finish"]


def test_tensorboard_itself(tmp_path):
    options = {"progress": False, "device": "cpu", "log": tmp_path / "log.jsonl", "trackers": ["tensorboard"]}
    train(Plain(), make_data(), TrainingConfig(steps=2, batch_size=8, log_every=1), **options)
    assert list((tmp_path / "train").rglob("events.*"))
