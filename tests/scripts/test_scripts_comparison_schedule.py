"""The schedule of a comparison: what a job needs is there before it begins, and nothing is made twice."""

import json
import os
import signal
from dataclasses import replace

import pytest
from adding_jobs import add
from comparison.sampling import settings_of
from comparison.schedule import Job, Place, carry_out
from comparison.settings import comparison
from processes import is_running, wait_until


@pytest.fixture
def place(tmp_path):
    return Place(root=tmp_path / "stages", plan="plan", device="cpu")


def test_stages_are_made_after_those_that_they_need_and_once(forker, tmp_path):
    forker.run("adding_jobs.carried_out", tmp_path / "log", tmp_path / "stages", tmp_path / "report.json")
    told = json.loads((tmp_path / "report.json").read_text())
    assert told["error"] == "this job cannot be done"
    assert told["killed"].startswith("a process of the comparison was ended from outside")
    stages, again = told["stages"], told["again"]
    assert list(stages) == ["last", "left", "right", "first"]
    assert {name: stage["record"]["sum"] for name, stage in stages.items()} == {
        "first": 1,
        "left": 2,
        "right": 3,
        "last": 6,
    }
    assert {stage["record"]["line"] for stage in stages.values()} <= {0, 1}
    assert all(stage["reused"] for stage in again.values())
    assert again == {name: {**stage, "reused": True} for name, stage in stages.items()}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_comparison_that_is_killed_leaves_no_process_at_work(forker, tmp_path, number):
    told = tmp_path / "stages" / "worker"
    main = forker.start("adding_jobs.lingering", tmp_path / "log", told.parent)
    wait_until(told.exists)
    worker = int(told.read_text())
    assert is_running(worker)
    os.kill(main, number)
    assert forker.wait(main) == -number
    wait_until(lambda: not is_running(worker))


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([Job("a", add), Job("a", add)], "two jobs have one name"),
        ([Job("a", add, ("b",))], "a job needs one that is not there"),
    ],
)
def test_jobs_that_would_never_end_do_not_begin(place, jobs, message):
    with pytest.raises(AssertionError, match=message):
        carry_out(jobs, place)


def test_settings_that_look_alike_have_stages_of_their_own():
    first = settings_of(comparison("digits"), "diffusion")[0]
    other = replace(first, sampling=replace(first.sampling, eta=1.0))
    assert first.title == other.title
    assert first.key != other.key
