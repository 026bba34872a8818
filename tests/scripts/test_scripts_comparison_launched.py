"""A comparison that a launcher started: its processes train as one, and share what else there is to make."""

import json

import pytest
from comparing_pair import tiny_place, tokenizer
from processes import start_pair
from tiny_comparison import serially


def test_processes_train_together_deal_out_the_rest_and_fail_together(forker, tmp_path):
    statuses, _ = start_pair(forker, "comparing_pair.as_one_of_two", tmp_path / "log", folder=str(tmp_path))
    assert statuses == [0, 0], "".join((tmp_path / f"log-{rank}").read_text() for rank in range(2))
    first, second = (json.loads((tmp_path / f"report-{rank}.json").read_text()) for rank in range(2))
    assert first["stages"] == second["stages"]
    assert [first["stages"][name]["record"]["line"] for name in "abc"] == [0, 1, 0]
    assert first["main"] == second["main"] == "0"
    assert first["again"] == second["again"] == [True] * 4
    assert first["steps"] == second["steps"]
    assert first["error"] == "process 1 failed: this job cannot be done"
    assert second["error"] == "this job cannot be done"

    place = tiny_place(tmp_path / "alone")
    (alone,) = serially([tokenizer(place)], place).values()
    (together,) = (stage for name, stage in first["stages"].items() if name.startswith("tokenizer"))
    assert together["key"] == alone.key
    losses = [[row["loss"] for row in record["history"]] for record in (together["record"], alone.record)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    files = [{file.relative_to(folder) for file in folder.rglob("*")} for folder in (place.root, tmp_path / "stages")]
    assert files[0] <= files[1]
