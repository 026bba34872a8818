"""The comparison from beginning to end: train, choose, sample, judge, time, report."""

import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

from comparison.assemble import environment, keep_pipelines, over_seeds, result_row, write_page, write_samples
from comparison.families import FAMILIES
from comparison.judging import choose, judging_jobs, scores_name
from comparison.likelihood import likelihood_jobs
from comparison.processes import is_main
from comparison.report.results import Report
from comparison.sampling import (
    load_samples,
    samples_name,
    sampling_jobs,
    settings_of,
)
from comparison.schedule import Place, carry_out
from comparison.seconds import equal_seconds
from comparison.settings import Comparison
from comparison.stages import Stage, StageStore
from comparison.timing import in_words, timing_stage
from comparison.training import JUDGES, load_pipeline, model_name, training_cost, training_jobs
from var.data.apart import check_apart
from var.data.catalog import places_of
from var.errors import UserError
from var.evaluation.table import TABLE
from var.locks import LOCK, sole_owner
from var.nested import plain
from var.terms import Terms
from var.training.distributed import Processes

TIMING_THREADS = 1
"""Threads of a timed sampler, as in training: the models are too small to gain from a second one."""


def run(
    plan: Comparison, output: Path, *, seeds: list[int], processes: Processes, fresh: bool, sweep: bool = False
) -> Report:
    """Compare as `plan` says and fill the folder `output`, which the `processes` own meanwhile; returns the report.

    A `sweep` chooses the headline settings on validation images first.
    """
    digest = processes.from_main(plan.data.digest)
    place = Place(root=output / "stages", plan=plan, device=processes.device.type, data_digest=digest)
    with ExitStack() as owned:
        place.from_main(lambda: _enter(place, output, owned, fresh))
        report = _run(place, output, seeds=seeds, sweep=sweep)
    place.leave()
    return report


def _enter(place: Place, output: Path, owned: ExitStack, fresh: bool) -> None:
    _check_place(output, place.plan)
    owned.enter_context(sole_owner(output))
    StageStore(place.root).sweep(everything=fresh)


def _check_place(output: Path, plan: Comparison) -> None:
    """Raise `UserError` for a folder that is neither new nor that of a comparison, and for one in the data."""
    check_apart(output, places_of(plan.data.source))
    strangers = [path.name for path in output.iterdir() if path.name != LOCK] if output.is_dir() else []
    if strangers and not (output / "stages").is_dir():
        raise UserError(
            f"the output {output} must be a new folder or that of a comparison, but it holds {min(strangers)}; choose "
            "another --output"
        )


def _run(place: Place, output: Path, *, seeds: list[int], sweep: bool) -> Report:
    plan = place.plan
    for note in (*([f"trained by the preset {plan.preset!r}"] if plan.preset else []), *plan.data.notes):
        _say(note)
    if plan.seconds is not None:
        place = replace(place, plan=equal_seconds(place))
    jobs, stages = training_jobs(place, seeds), dict[str, Stage]()
    if sweep:
        place, stages = choose(place, jobs, seeds)
        jobs = []
    settings = [setting for model in place.plan.models for setting in settings_of(place.plan, model)]
    part = place.plan.data.reference
    jobs += [*sampling_jobs(place, settings, seeds, part), *judging_jobs(place, settings, seeds)]
    jobs += likelihood_jobs(place, seeds) if plan.seconds is not None else []
    stages = carry_out(jobs, place, stages)
    # The processes have ended: nothing else runs here while the samplers are timed.
    for seed in seeds:
        trained = {model: stages[model_name(place, model, seed)] for model in place.plan.models}
        stages[f"times #{seed}"] = place.from_main(partial(timing_stage, place, trained, TIMING_THREADS))
    _say_reused(stages)
    return place.from_main(lambda: _written(output, place, seeds, stages))


def _written(output: Path, place: Place, seeds: list[int], stages: dict[str, Stage]) -> Report:
    report = _report(place, seeds, stages)
    _write(output, report, place, seeds, stages)
    return report


def _say(line: str) -> None:
    if is_main():
        print(line, file=sys.stderr)


def _report(place: Place, seeds: list[int], stages: dict[str, Stage]) -> Report:
    """Scores of all samples and controls, with the times, as a report: means over the training seeds."""
    plan, part = place.plan, place.plan.data.reference
    rows: list[list[dict[str, Any]]] = [[] for _ in seeds]
    for seed, mine in zip(seeds, rows, strict=True):
        for model in plan.models:
            times = stages[f"times #{seed}"].record[model]
            cost = training_cost(place, model, seed, stages)
            for index, setting in enumerate(settings_of(plan, model)):
                sampling = {key: values[index] for key, values in times.items()}
                if setting.headline:
                    likely = stages.get(f"likelihood of {model} #{seed}")
                    scores = _mean_of_sets(_returned(stages[f"report on {model} #{seed}"]))
                    scores |= {} if likely is None else _returned(likely)
                else:
                    scores = _returned(stages[scores_name(setting, seed, part)])
                mine.append(result_row(setting, scores, sampling, cost, seed))
    parts = {seed: [_returned(stages[f"parts of {model} #{seed}"]) for model in plan.models] for seed in seeds}
    by_seed = [{k: v for each in found for k, v in each["controls"].items()} for found in parts.values()]
    own_controls = {name: over_seeds([one[name] for one in by_seed]) for name in by_seed[0]}
    tokenizer = next((each["health"] for each in parts[seeds[0]] if each["health"]), {})
    trained = {name: {key: stages[name].record[key] for key in ("digest", "test_accuracy")} for name in JUDGES}
    results = [over_seeds(list(same)) for same in zip(*rows, strict=True)]
    return Report(
        results=results,
        controls=_returned(stages["controls"]) | own_controls,
        tokenizer=tokenizer,
        environment=environment(TIMING_THREADS, place.device, _seconds(stages)),
        settings={
            "extractor": plan.judge.name,
            "seed": seeds[0],
            "seeds": seeds,
            "judges": trained,
            "notes": list(plan.data.notes),
            "timing": in_words(results, plan.timing_repeats),
            **Terms.of(plan.data.part("train"))._asdict(),
            "terms": [
                f"What {FAMILIES[model].word} was trained on: {one.terms}"
                for model, one in plan.models.items()
                if one.terms.said()
            ],
            **plain(plan.settings()),
        },
        scores={model: _returned(stages[f"report on {model} #{seeds[0]}"]) for model in plan.models},
        by_seed=[row for mine in rows for row in mine] if len(seeds) > 1 else [],
    )


def _mean_of_sets(report: dict[str, Any]) -> dict[str, Any]:
    """A row's scores: their means over the sets that were drawn with different seeds."""
    thorough = {score.key for score in TABLE if score.thorough}
    means = {key: fmean(values) for key, values in report["scores"].items() if key not in thorough}
    return {"samples": report["sets"][0]["samples"], **means}


def _returned(stage: Stage) -> dict[str, Any]:
    """What the work of a stage returned."""
    return {name: value for name, value in stage.record.items() if name not in ("seconds", "settings")}


def _write(output: Path, report: Report, place: Place, seeds: list[int], stages: dict[str, Stage]) -> None:
    """All files of the output folder, of the first seed; report.json last, so that it stands for a whole one."""
    plan, seed, part = place.plan, seeds[0], place.plan.data.reference
    heads = {model: settings_of(plan, model)[0] for model in plan.models}
    samples = {model: load_samples(stages[samples_name(one, 0, seed, part)]) for model, one in heads.items()}
    trained = {model: stages[model_name(place, model, seed)] for model in plan.models}
    pipelines = {model: load_pipeline(FAMILIES[model], stage.folder, place.device) for model, stage in trained.items()}
    write_samples(output, plan, samples, pipelines)
    keep_pipelines(output, pipelines)
    histories = _histories(plan, seed, stages)
    write_page(output, report, plan, pipelines, samples, histories)
    report.to_json(output / "report.json")


def _histories(plan: Comparison, seed: int, stages: dict[str, Stage]) -> dict[str, tuple[str, list[dict[str, float]]]]:
    """The model and the losses of each training, by what the page calls it: its stage, of every family with its key."""
    histories = {}
    for name, stage in stages.items():
        if stage.record.get("history") and name.endswith(f" {seed}"):
            model = name.partition(" #")[2].split()[0]
            title = _kind(name) if plan.seconds is None else f"{model}: {_kind(name)}"
            histories[title] = model, stage.record["history"]
    return histories


def _kind(name: str) -> str:
    """A stage's name without what it is of: "samples of", and the model."""
    return name.partition(" #")[0]


def _seconds(stages: dict[str, Stage]) -> dict[str, float]:
    """Seconds by kind of stage: those of all settings of a model together."""
    seconds: dict[str, float] = {}
    for name, stage in stages.items():
        seconds[_kind(name)] = seconds.get(_kind(name), 0.0) + stage.record["seconds"]
    return seconds


def _say_reused(stages: dict[str, Stage]) -> None:
    reused = dict.fromkeys(_kind(name) for name, stage in stages.items() if stage.reused)
    if reused:
        _say(f"reused from an earlier run with the same settings: {', '.join(reused)}")
