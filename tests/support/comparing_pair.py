"""What each of two processes of a launcher does in a comparison: a training together, other stages dealt out."""

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path

from processes import fork_from_here

SCRIPTS = str(Path(__file__).parents[2] / "scripts")


def tiny_place(folder):
    """A comparison of next to nothing, whose only training takes seconds, in a folder."""
    from comparison.schedule import Place
    from comparison.settings import comparison
    from tiny_comparison import tiny

    plan = tiny(comparison("digits", models=["var"]))
    return Place(root=Path(folder) / "stages", plan=plan, device="cpu", data_digest="digits")


def tokenizer(place):
    """The job that trains it."""
    from comparison.training import training_jobs

    (job,) = (job for job in training_jobs(place, [0]) if job.name.startswith("tokenizer"))
    return job


def paced_steps(place):
    """The steps of each training that take a second, all its stages together, by a few that are taken."""
    from comparison import seconds

    seconds.WARM_UP, seconds.LEAST, seconds.ENOUGH = 1, 1, 0.0
    plan = seconds.equal_seconds(replace(place, plan=replace(place.plan, seconds=1.0)))
    return {name: run.training.steps for name, run in plan.models["var"].runs.items()}


def note(place, *needed, line):
    """A stage that says who made it."""
    *_, name = needed
    if name == "mistake":
        raise ValueError("this job cannot be done")
    return place.stage("note", {"name": name}, lambda _: {"line": line})


def whole(folder):
    """The script with a mistake in its arguments, one in its data and then none; leaves its three exit codes."""
    import tiny_comparison

    sys.path.append(SCRIPTS)
    fork_from_here()
    usual = tiny_comparison.tiny
    tiny_comparison.tiny = lambda plan: replace(usual(plan), generation_seeds=1)
    right = ["digits", "--models", "diffusion", "--device", "cpu", "--output", f"{folder}/report"]
    codes = [tiny_comparison.main(words) for words in (["digits", "--quik"], ["digitz"], right)]
    (Path(folder) / f"codes-{os.environ['RANK']}.json").write_text(json.dumps(codes))


def as_one_of_two(folder):
    """Writes what this process had in the end, and the error that it met."""
    sys.path.append(SCRIPTS)
    from comparison import schedule

    fork_from_here()
    schedule.start_server()
    rank, place = os.environ["RANK"], tiny_place(folder)
    jobs = [schedule.Job(name, note, needs, (name,)) for name, needs in (("c", ("a", "b")), ("a", ()), ("b", ()))]
    stages = schedule.carry_out([*jobs, tokenizer(place)], place)
    told = {"stages": {name: asdict(stage) for name, stage in stages.items()}, "main": place.from_main(lambda: rank)}
    told["again"] = [stage.reused for stage in schedule.carry_out([*jobs, tokenizer(place)], place).values()]
    told["steps"] = paced_steps(place)
    try:
        schedule.carry_out([schedule.Job(name, note, (), (name,)) for name in ("fine", "mistake")], place)
    except Exception as error:
        told["error"] = str(error)
    place.leave()
    (Path(folder) / f"report-{rank}.json").write_text(json.dumps(told, default=str))
