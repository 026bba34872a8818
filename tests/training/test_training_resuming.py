"""A run that was stopped and called again ends bit for bit as one that was not, or says why it cannot go on."""

import json
import logging
import os
import shutil
import signal
from dataclasses import replace

import pytest
import torch
from training_runs import CONFIG, outcome, rich_run, stop_at
from training_tasks import Plain, Rich, make_data

from var.errors import UserError
from var.training import CheckpointPolicy, TrainingConfig, resuming, train
from var.training import state as state_module
from var.training.checkpoints import checkpoints


def interrupted(folder, moments, **settings):
    """Stop a run in the middle of each of `moments`, then let it end."""
    done = None
    for moment in moments:
        _, result = rich_run(folder, hook=stop_at(moment, signal.SIGUSR1 if moment % 2 else signal.SIGTERM), **settings)
        assert (result.finished, result.steps, result.resumed_from) == (False, moment + 1, done)
        done = moment + 1
    task, result = rich_run(folder, **settings)
    assert (result.finished, result.steps, result.resumed_from) == (True, CONFIG["steps"], done)
    return task, result


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """The folder of an uninterrupted run, its task and its result."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, *rich_run(folder)


def assert_same(folder, whole_run):
    assert outcome(folder) == outcome(whole_run[0])


# Epochs have 9 steps and log rows 5: every stop is in the middle of both.
def test_stopped_three_times_in_the_middle_of_epochs(whole_run, tmp_path):
    task, result = interrupted(tmp_path, [3, 10, 21])
    assert_same(tmp_path, whole_run)
    assert result.history == whole_run[2].history
    assert result.seconds > 0
    for mine, other in zip(task.model.state_dict().values(), whole_run[1].model.state_dict().values(), strict=True):
        assert torch.equal(mine, other)  # the averaged weights that the run ends with
    assert task.model.seen == whole_run[1].model.seen == CONFIG["steps"]


def test_a_run_that_forgets_any_one_part_of_its_state_ends_elsewhere(whole_run, tmp_path, monkeypatch):
    rich_run(tmp_path / "start", hook=stop_at(10))
    forgotten = None
    write = state_module.write

    def write_unless_forgotten(target, value):
        if value is not forgotten:
            write(target, value)

    load = resuming.SavedTensors.load

    def load_and_forget(self, file, name):
        nonlocal forgotten
        value = load(self, file, name)
        if (file, name) == lost:
            forgotten = value
        return value

    monkeypatch.setattr(state_module, "write", write_unless_forgotten)
    monkeypatch.setattr(resuming.SavedTensors, "load", load_and_forget)
    parts = [
        ("model", "codes"),
        ("model", "norm.running_var"),
        ("model_buffers", "seen"),
        ("model_optimizer", "exp_avg_sq.blocks.1.weight"),
        ("opponent_optimizer", "step.2.bias"),
        ("opponent", "2.weight"),
        ("average", "last.bias"),
    ]
    for lost in parts:
        folder = tmp_path / lost[1]
        shutil.copytree(tmp_path / "start", folder)
        rich_run(folder)
        assert outcome(folder)[0] != outcome(whole_run[0])[0], lost
    lost = None
    rich_run(tmp_path / "start")
    assert_same(tmp_path / "start", whole_run)


def test_with_two_workers_at_one_start_and_none_at_the_next(whole_run, tmp_path):
    rich_run(tmp_path, hook=stop_at(12), workers=2)
    rich_run(tmp_path)
    assert_same(tmp_path, whole_run)


def test_with_accumulation(tmp_path):
    rich_run(tmp_path / "whole", accumulation=2)
    interrupted(tmp_path / "parts", [4, 11], accumulation=2)
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")


def test_with_muon(tmp_path):
    rich_run(tmp_path / "whole", optimizer="muon")
    interrupted(tmp_path / "parts", [4, 11], optimizer="muon")
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")
    with pytest.raises(UserError, match="optimizer"):
        rich_run(tmp_path / "whole")


def test_a_finished_run_called_again_only_gives_its_weights_and_its_history(whole_run):
    before = outcome(whole_run[0])
    task, result = rich_run(whole_run[0])
    assert (result.finished, result.resumed_from, result.steps) == (True, CONFIG["steps"], CONFIG["steps"])
    assert result.history == whole_run[2].history
    assert torch.equal(task.model.first.weight, whole_run[1].model.first.weight)
    assert not task.model.training
    assert outcome(whole_run[0]) == before


def test_checkpoints_come_as_often_as_asked_and_old_ones_go(tmp_path):
    rich_run(tmp_path, steps=20, every=4, keep=3)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-20", "step-16", "step-12"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "step-12", "step-16", "step-20"]


def damage(path):
    contents = bytearray(path.read_bytes())
    contents[len(contents) // 2] ^= 1
    path.write_bytes(contents)


DAMAGES = {
    "a flipped bit": (lambda folder: damage(folder / "model.safetensors"), "model.safetensors has other contents"),
    "a truncated file": (lambda folder: os.truncate(folder / "average.safetensors", 100), "has 100 bytes instead of"),
    "a missing file": (lambda folder: (folder / "state.json").unlink(), "state.json is missing"),
    "a truncated manifest": (lambda folder: os.truncate(folder / "manifest.json", 50), "manifest.json cannot be used"),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "manifest.json cannot be used"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(kind, whole_run, tmp_path, caplog):
    harm, message = DAMAGES[kind]
    shutil.copytree(whole_run[0], tmp_path, dirs_exist_ok=True)
    harm(tmp_path / "step-24")
    with caplog.at_level(logging.INFO):
        _, result = rich_run(tmp_path)
    assert result.resumed_from == 21
    (warning,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert message in warning
    assert warning.startswith("step-24: ")
    assert warning.endswith("going on from step-21 instead")
    assert f"{tmp_path} goes on from step 21" in caplog.text
    assert_same(tmp_path, whole_run)
    assert (tmp_path / "step-24.damaged").is_dir()


def test_no_whole_checkpoint_is_an_error_and_not_a_new_beginning(whole_run, tmp_path):
    shutil.copytree(whole_run[0], tmp_path, dirs_exist_ok=True)
    damage(tmp_path / "step-24" / "model.safetensors")
    os.truncate(tmp_path / "step-21" / "manifest.json", 0)
    with pytest.raises(UserError, match=r"all are damaged .*step-24: model.*step-21: manifest.*remove them"):
        rich_run(tmp_path)
    assert {"step-21", "step-24"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 1e-3}, r"differs in training.learning_rate \(0.005 there, 0.001 here\)"),
        ({"batch_size": 4, "seed": 1}, r"training.batch_size \(8 there, 4 here\), training.seed \(0 there, 1 here\)"),
        ({"identity": {"model": {"width": 3}}}, r"model \(None there, {'width': 3} here\)"),
    ],
)
def test_a_checkpoint_of_another_configuration(settings, message, whole_run):
    with pytest.raises(UserError, match=f"{message}; go back to these settings, or give another folder"):
        rich_run(whole_run[0], **settings)


def test_a_checkpoint_of_other_data_and_of_another_model(whole_run, tmp_path):
    policy = CheckpointPolicy(folder=whole_run[0], every=7)
    config = TrainingConfig(**CONFIG)
    with pytest.raises(UserError, match=r"differs in data.images \(72 there, 64 here\), data.fingerprint"):
        train(Rich(), make_data(64), config, progress=False, device="cpu", checkpoints=policy)
    with pytest.raises(UserError, match=r"state of this model and task, but: .*unexpected average/norm.bias, "):
        train(Plain(), make_data(), config, progress=False, device="cpu", checkpoints=policy)
    task = Rich()
    task.model = type(task.model)(width=8)
    with pytest.raises(UserError, match=r"model/blocks.0.bias has shape \(16,\) instead of \(8,\)"):
        train(task, make_data(), config, progress=False, device="cpu", checkpoints=policy)


def test_what_changes_no_number_may_change(whole_run, tmp_path):
    rich_run(tmp_path, hook=stop_at(5))
    _, result = rich_run(tmp_path, log_every=3)
    assert result.resumed_from == 6
    assert outcome(tmp_path)[0] == outcome(whole_run[0])[0]


def test_another_number_of_parts_is_said(tmp_path, caplog):
    rich_run(tmp_path, hook=stop_at(5))
    _, result = rich_run(tmp_path, accumulation=2)
    assert result.finished
    (record,) = caplog.records
    assert (
        "saved by 1 process(es) x 1 micro-batch(es) and goes on with 1 x 2: every step sees the same images, but noise"
        in record.message
    )


def test_the_log_is_continued_after_a_kill_without_doubles(whole_run, tmp_path):
    rich_run(tmp_path, hook=stop_at(10))
    log = tmp_path / "log.jsonl"
    wanted = log.read_text()
    # What a run that was killed later leaves: rows after the checkpoint, the last one half-written.
    log.write_text(wanted + json.dumps({"step": 15.0, "loss": 1.0}) + '\n{"step": 20.0, "lo')
    rich_run(tmp_path)
    assert_same(tmp_path, whole_run)
    assert log.read_text().startswith(wanted)


def test_leftovers_are_swept_and_what_is_not_ours_stays(tmp_path):
    # The names of today, of a running process at that, and those of version 0.1.
    ours = (f".step-3.{os.getppid()}.tmp", ".step-2.7.trash", "step-3.tmp", "step-2.trash")
    for name in (*ours, "step-3.tmpx", "mine"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").write_text("")
    rich_run(tmp_path, steps=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "mine", "step-2", "step-3.tmpx"]


def test_two_runs_in_one_folder(tmp_path):
    messages = []

    def second_run(step):
        if step == 2:
            with pytest.raises(
                UserError, match=r"another one in this process is at work in .*; wait for its end"
            ) as caught:
                rich_run(tmp_path)
            messages.append(str(caught.value))

    rich_run(tmp_path, hook=second_run, steps=4)
    assert len(messages) == 1
    rich_run(tmp_path, steps=4)


def test_the_bar_starts_at_the_resumed_step(tmp_path, capsys):
    policy = CheckpointPolicy(folder=tmp_path, every=3)
    config = TrainingConfig(**{**CONFIG, "steps": 8})
    task = Rich(stop_at(4))
    train(task, make_data(), config, device="cpu", checkpoints=policy)
    capsys.readouterr()
    train(Rich(), make_data(), replace(config), device="cpu", checkpoints=policy)
    shown = capsys.readouterr().err
    assert "5/8" in shown
    assert "4/8" not in shown


@pytest.mark.parametrize(
    ("settings", "message"), [({"every": 0}, "1 step apart"), ({"keep": 1}, "at least 2 checkpoints")]
)
def test_impossible_policies(settings, message, tmp_path):
    with pytest.raises(UserError, match=message):
        CheckpointPolicy(**{"folder": tmp_path, "every": 5, **settings})
    with pytest.raises(UserError, match="finite numbers"):
        CheckpointPolicy(folder=tmp_path, every=5, identity={"model": object()})
