"""A run that is called again with another number of steps goes on to it, and says what that means."""

import hashlib
import json
import re

import pytest
import torch
from training_runs import CONFIG, outcome, rich_run, stop_at

from var.errors import UserError
from var.training import TrainingConfig
from var.training.optimization import learning_rate_factor
from var.training.run_length import length_note

CONSTANT = {"schedule": "constant", "warmup": 0.0}


def test_a_longer_run_goes_on_from_the_end_bit_for_bit_at_a_constant_rate(tmp_path, caplog):
    whole, _ = rich_run(tmp_path / "whole", **CONSTANT)
    rich_run(tmp_path / "parts", steps=10, **CONSTANT)
    assert caplog.text == ""
    task, result = rich_run(tmp_path / "parts", **CONSTANT)
    assert (result.finished, result.resumed_from, result.steps) == (True, 10, CONFIG["steps"])
    assert outcome(tmp_path / "parts")[0] == outcome(tmp_path / "whole")[0]  # weights, average, optimisers, memory
    assert torch.equal(task.model.first.weight, whole.model.first.weight)
    (record,) = caplog.records
    said = "is of a run of 10 steps, which goes on to 24: it is the run that was 24 steps long from the start"
    assert record.message.endswith(said)
    assert [row["step"] for row in result.history] == [5, 10, 15, 20, 24]
    # A third start finds nothing to say.
    caplog.clear()
    _, result = rich_run(tmp_path / "parts", **CONSTANT)
    assert (result.resumed_from, caplog.text) == (24, "")


def test_the_rate_follows_the_schedule_of_the_new_length_from_there(tmp_path, caplog):
    rich_run(tmp_path, steps=12, log_every=1)
    caplog.clear()
    _, result = rich_run(tmp_path, log_every=1)
    rates = [row["learning_rate"] for row in result.history]
    short, long = (TrainingConfig(**{**CONFIG, "steps": steps}) for steps in (12, 24))
    peak = CONFIG["learning_rate"]
    assert rates[:12] == pytest.approx([peak * learning_rate_factor(short, step) for step in range(12)])
    assert rates[12:] == pytest.approx([peak * learning_rate_factor(long, step) for step in range(12, 24)])
    numbers = f"({rates[11]:.3g} in the last step, {rates[12]:.3g} in the next)"
    assert (
        f"from step 13 on the learning rate follows the cosine schedule of the new length {numbers}; it is not the run "
        "that was 24 steps long from the start"
    ) in caplog.text


def test_a_run_may_become_shorter_but_not_than_it_is(tmp_path, caplog):
    rich_run(tmp_path, hook=stop_at(9))
    with pytest.raises(UserError, match=r"cannot become shorter than it is, but .*step-10 has 10 steps, got steps=9; "):
        rich_run(tmp_path, steps=9)
    with pytest.raises(UserError, match=r"differs in training\.batch_size"):
        rich_run(tmp_path, steps=12, batch_size=4)
    _, result = rich_run(tmp_path, steps=12)
    assert (result.finished, result.resumed_from, result.steps) == (True, 10, 12)
    assert "is of a run of 24 steps, which goes on to 12" in caplog.text


def test_a_checkpoint_that_tells_its_length_among_the_settings_goes_on_too(tmp_path):
    rich_run(tmp_path, hook=stop_at(9), **CONSTANT)
    path = tmp_path / "step-10" / "state.json"
    facts = json.loads(path.read_text())
    facts["identity"]["training"]["steps"] = facts.pop("steps")
    text = json.dumps(facts)
    path.write_text(text)
    # The manifest must say so too.
    manifest = tmp_path / "step-10" / "manifest.json"
    listed = json.loads(manifest.read_text())
    listed["files"]["state.json"] = {"bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}
    manifest.write_text(json.dumps(listed))
    _, result = rich_run(tmp_path, **CONSTANT)
    assert result.resumed_from == 10


@pytest.mark.parametrize(
    ("settings", "planned", "done", "same"),
    [
        ({"schedule": "constant", "warmup": 0.0}, 50, 50, True),
        ({"schedule": "constant", "warmup": 0.1}, 50, 50, False),  # the rise took another number of steps
        ({"schedule": "linear", "warmup": 0.0, "hold": 0.5}, 50, 20, True),  # the fall had not begun
        ({"schedule": "linear", "warmup": 0.0, "hold": 0.5}, 50, 40, False),
    ],
)
def test_it_is_the_same_run_where_the_rate_was_the_same_so_far(settings, planned, done, same):
    (note,) = length_note(TrainingConfig(steps=100, **settings), planned, done, "it")
    assert bool(re.search("it is the run that was 100 steps", note)) == same
    assert length_note(TrainingConfig(steps=planned, **settings), planned, done, "it") == []
