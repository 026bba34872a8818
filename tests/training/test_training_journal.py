"""Rows of numbers: means over windows, in memory and as JSON lines."""

import json

import torch

from var.training.journal import Journal


def test_rows_are_means_over_windows_and_the_last_is_whatever_is_left(tmp_path):
    path = tmp_path / "new" / "log.jsonl"
    journal = Journal(path, 2)
    for step in range(5):
        numbers = {"loss": float(step), "tensor": torch.tensor(10.0 * step)}
        journal.add(step, numbers, last=step == 4)
    expected = [
        {"step": 2, "loss": 0.5, "tensor": 5.0},
        {"step": 4, "loss": 2.5, "tensor": 25.0},
        {"step": 5, "loss": 4.0, "tensor": 40.0},
    ]
    assert journal.rows == expected
    assert [json.loads(line) for line in path.read_text().splitlines()] == expected


def test_a_row_is_on_disk_as_soon_as_it_is_due(tmp_path):
    path = tmp_path / "log.jsonl"
    journal = Journal(path, 1)
    assert path.read_text() == ""
    journal.add(0, {"loss": 1.0})
    assert json.loads(path.read_text()) == {"step": 1, "loss": 1.0}


def test_a_new_run_does_not_continue_an_older_log(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("old\n")
    Journal(path, 1).add(0, {"loss": 1.0})
    assert "old" not in path.read_text()


def test_numbers_that_some_steps_lack_are_averaged_over_the_others():
    journal = Journal(None, 3)
    journal.add(0, {"loss": 1.0, "rare": 4.0})
    journal.add(1, {"loss": 2.0})
    journal.add(2, {"loss": 3.0, "rare": 8.0, "late": 1.0})
    assert journal.rows == [{"step": 3, "loss": 2.0, "rare": 6.0, "late": 1.0}]
