"""Rows of numbers: means over windows, in memory and as JSON lines."""

import json

import pytest
import torch

from var.errors import UserError
from var.training.metrics_log import MetricsLog


def test_rows_are_means_over_windows_and_the_last_is_whatever_is_left(tmp_path):
    path = tmp_path / "new" / "log.jsonl"
    log = MetricsLog(path, 2)
    for step in range(5):
        numbers = {"loss": float(step), "tensor": torch.tensor(10.0 * step)}
        log.add(step, numbers, last=step == 4)
    expected = [
        {"step": 2, "loss": 0.5, "tensor": 5.0},
        {"step": 4, "loss": 2.5, "tensor": 25.0},
        {"step": 5, "loss": 4.0, "tensor": 40.0},
    ]
    assert log.rows == expected
    assert [json.loads(line) for line in path.read_text().splitlines()] == expected


def test_a_row_is_on_disk_as_soon_as_it_is_due(tmp_path):
    path = tmp_path / "log.jsonl"
    log = MetricsLog(path, 1)
    assert path.read_text() == ""
    log.add(0, {"loss": 1.0})
    assert json.loads(path.read_text()) == {"step": 1, "loss": 1.0}


def test_a_new_run_does_not_continue_an_older_log(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("old\n")
    MetricsLog(path, 1).add(0, {"loss": 1.0})
    assert "old" not in path.read_text()


def test_numbers_that_some_steps_lack_are_averaged_over_the_others():
    log = MetricsLog(None, 3)
    log.add(0, {"loss": 1.0, "rare": 4.0})
    log.add(1, {"loss": 2.0})
    log.add(2, {"loss": 3.0, "rare": 8.0, "late": 1.0})
    assert log.rows == [{"step": 3, "loss": 2.0, "rare": 6.0, "late": 1.0}]


def test_a_window_that_was_saved_completes_its_row_later(tmp_path):
    values = [0.1, 0.2, float("nan"), 0.4, 1e-17]
    whole = MetricsLog(tmp_path / "whole", 5)
    for step, value in enumerate(values):
        whole.add(step, {"loss": 1 / (step + 1), "odd": value})
    first = MetricsLog(tmp_path / "parts", 5)
    for step in range(3):
        assert not first.add(step, {"loss": torch.tensor(1 / (step + 1), dtype=torch.float64), "odd": values[step]})
    saved = json.loads(json.dumps(first.saved(), allow_nan=False))
    second = MetricsLog(tmp_path / "parts", 5, start=3, window=saved)
    assert not second.add(3, {"loss": 1 / 4, "odd": values[3]})
    assert second.add(4, {"loss": 1 / 5, "odd": values[4]})
    assert (tmp_path / "parts").read_text() == (tmp_path / "whole").read_text()
    assert '"odd": NaN' in (tmp_path / "whole").read_text()


def test_rows_are_means_over_processes_whose_numbers_may_differ():
    heard = []
    log = MetricsLog(None, 2, gather=lambda own: [own, {"loss": [5.0, 7.0], "other": [1.0]}], listen=heard.append)
    log.add(0, {"loss": 1.0})
    log.add(1, {"loss": torch.tensor(3.0)})
    assert log.rows == heard == [{"step": 2, "loss": 4.0, "other": 1.0}]


def test_notes_are_lines_but_no_rows_and_survive_with_them(tmp_path):
    path = tmp_path / "log.jsonl"
    log = MetricsLog(path, 1)
    for step in range(3):
        log.add(step, {"loss": float(step)})
        log.note(step + 1, f"note {step}")
    again = MetricsLog(path, 1, start=2)
    assert again.rows == log.rows[:2]
    assert [json.loads(line).get("warning") for line in path.read_text().splitlines()] == [
        None,
        "note 0",
        None,
        "note 1",
    ]


def test_a_log_that_cannot_be_written_is_named(tmp_path):
    log = MetricsLog(tmp_path / "log.jsonl", 1)
    (tmp_path / "log.jsonl").unlink()
    (tmp_path / "log.jsonl").mkdir()
    with pytest.raises(UserError, match=r"log.jsonl must be writable, but: Is a directory"):
        log.add(0, {"loss": 1.0})
