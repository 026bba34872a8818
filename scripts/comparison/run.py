"""The comparison from beginning to end: train, choose, sample, judge, time, report."""

import sys
import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from comparison.assemble import environment, keep_pipelines, over_seeds, result_row, write_page, write_samples
from comparison.contenders import CONTENDERS, Setting
from comparison.data import DataSet
from comparison.report.results import Report
from comparison.sampling import (
    load_samples,
    sample_labels,
    samples_name,
    sampling_jobs,
    settings_of,
    timing_stage,
)
from comparison.schedule import Job, Place, carry_out
from comparison.scoring import Evaluator, controls, health, model_controls, score_report
from comparison.settings import CODE_VERSION, Comparison
from comparison.stages import Stage, StageStore
from comparison.training import JUDGES, load_judge, load_pipeline, model_name, training_cost, training_jobs
from var.data.apart import check_apart
from var.data.catalog import places_of
from var.devices import chosen_device
from var.errors import UserError
from var.evaluation.metrics.frechet import RankDeficientWarning
from var.evaluation.table import TABLE
from var.locks import LOCK, sole_owner
from var.nested import plain

TIMING_THREADS = 1
"""Threads of a timed sampler, as in training: the models are too small to gain from a second one."""


def run(
    plan: Comparison, output: Path, *, seeds: list[int], device: str | None, fresh: bool, sweep: bool = False
) -> Report:
    """Compare as `plan` says and fill the folder `output`, which is this process's meanwhile; returns the report.

    A `sweep` chooses the headline settings on validation images first.
    """
    _check_place(output, plan)
    with sole_owner(output):
        return _run(plan, output, seeds=seeds, device=device, fresh=fresh, sweep=sweep)


def _check_place(output: Path, plan: Comparison) -> None:
    """Raise `UserError` for a folder that is neither new nor that of a comparison, and for one in the data."""
    check_apart(output, places_of(plan.data.source))
    strangers = [path.name for path in output.iterdir() if path.name != LOCK] if output.is_dir() else []
    if strangers and not (output / "stages").is_dir():
        raise UserError(
            f"the output {output} must be a new folder or that of a comparison, but it holds {min(strangers)}; choose "
            "another --output"
        )


def _run(plan: Comparison, output: Path, *, seeds: list[int], device: str | None, fresh: bool, sweep: bool) -> Report:
    for note in plan.data.notes:
        print(note, file=sys.stderr)
    place = Place(root=output / "stages", plan=plan, device=chosen_device(device), data_digest=plan.data.digest())
    StageStore(place.root).sweep(everything=fresh)
    jobs, stages = training_jobs(place, seeds), dict[str, Stage]()
    if sweep:
        place, stages = _chosen(place, jobs, seeds)
        jobs = []
    settings = [setting for model in place.plan.models for setting in settings_of(place.plan, model)]
    part = place.plan.data.reference
    jobs += [*sampling_jobs(place, settings, seeds, part), *_judging_jobs(place, settings, seeds)]
    stages = carry_out(jobs, place, stages)
    # The processes have ended: nothing else runs here while the samplers are timed.
    for seed in seeds:
        for model in place.plan.models:
            trained = stages[model_name(place, model, seed)]
            made = timing_stage(place, trained, settings_of(place.plan, model), TIMING_THREADS)
            stages[f"times of {model} #{seed}"] = made
    _say_reused(stages)
    report = _report(place, seeds, stages)
    _write(output, report, place, seeds, stages)
    return report


def _chosen(place: Place, jobs: list[Job], seeds: list[int]) -> tuple[Place, dict[str, Stage]]:
    """The plan with the settings of least distance on validation images, the mean over seeds; and the stages so far."""
    plan = place.plan
    grids = {
        model: [CONTENDERS[model].setting(each, one) for each in dict.fromkeys((one.headline, *one.grid))]
        for model, one in plan.models.items()
    }
    tried = [setting for grid in grids.values() for setting in grid]
    stages = carry_out(
        [
            *jobs,
            *sampling_jobs(place, tried, seeds, "val"),
            *(_scores_job(setting, seed, "val") for setting in tried for seed in seeds),
        ],
        place,
    )

    def distance(setting: Setting) -> float:
        return fmean(stages[_scores_name(setting, seed, "val")].record["fd"] for seed in seeds)

    models = {}
    for model, one in plan.models.items():
        best = min(grids[model], key=distance).sampling
        models[model] = replace(one, headline=best, sweep=CONTENDERS[model].around(best))
    images = len(sample_labels(plan, "val"))
    chosen_on = f"{images} validation images, among {', '.join(f'{len(grid)} of {m}' for m, grid in grids.items())}"
    return replace(place, plan=replace(plan, models=models, chosen_on=chosen_on)), stages


def _judging_jobs(place: Place, settings: list[Setting], seeds: list[int]) -> list[Job]:
    """The scores of every setting, the reports on the headline settings, the controls and the tokenizer's numbers."""
    part, jobs = place.plan.data.reference, [Job("controls", _controls_stage, JUDGES)]
    for seed in seeds:
        needed = {model: (*JUDGES, model_name(place, model, seed)) for model in place.plan.models}
        jobs += [Job(f"parts of {model} #{seed}", _parts_stage, names, (model,)) for model, names in needed.items()]
        for setting in settings:
            if not setting.headline:
                jobs.append(_scores_job(setting, seed, part))
                continue
            sets = tuple(samples_name(setting, number, seed, part) for number in range(place.plan.generation_seeds))
            jobs.append(Job(f"report on {setting.model} #{seed}", _report_stage, (*JUDGES, *sets), (setting,)))
    return jobs


def _scores_name(setting: Setting, seed: int, part: str) -> str:
    return f"scores of {setting.model} #{setting.key} {seed} {part}"


def _scores_job(setting: Setting, seed: int, part: str) -> Job:
    needs = (*JUDGES, samples_name(setting, 0, seed, part))
    return Job(_scores_name(setting, seed, part), _scores_stage, needs, (setting, part))


def _judged(place: Place, name: str, inputs: tuple[Stage, ...], judge: Any, part: str | None = None) -> Stage:
    """The stage of what `judge(evaluator)` finds; `inputs` are the two trained judges and what they look at."""
    part = part or place.plan.data.reference

    def work(_: Path) -> dict[str, Any]:
        judges = (str(stage.folder) for stage in inputs[:2])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RankDeficientWarning)  # the reports say it in their cautions
            return judge(_evaluator(place.plan.data, part, place.plan.extra_scores, *judges))

    known = {
        "scores": [score.key for score in TABLE],
        "extra": place.plan.extra_scores,
        "per_class": place.plan.per_class,
        "most": place.plan.most_samples,
        "reference": part,
        "data": place.data_digest,
    }
    return place.stage(name, {"code": CODE_VERSION, "inputs": [stage.key for stage in inputs], **known}, work)


@lru_cache(maxsize=2)
def _evaluator(data: DataSet, part: str, extra: tuple[str, ...], *judges: str) -> Evaluator:
    """Both judges and the real images as they see them, once per process."""
    return Evaluator.of(data, part, extra, *(load_judge(Path(folder)) for folder in judges))


def _controls_stage(place: Place, judge: Stage, second: Stage, *, line: int) -> Stage:
    return _judged(place, "controls", (judge, second), lambda evaluator: controls(evaluator, place.plan))


def _parts_stage(place: Place, judge: Stage, second: Stage, trained: Stage, model: str, *, line: int) -> Stage:
    """What is found of the parts of a model: controls, and the numbers on its tokenizer."""
    contender = CONTENDERS[model]

    def numbers(evaluator: Evaluator) -> dict[str, Any]:
        pipeline = load_pipeline(contender, trained.folder, place.device)
        return {
            "controls": model_controls(evaluator, place.plan, contender, pipeline),
            "health": health(evaluator, place.plan, contender, pipeline),
        }

    return _judged(place, f"parts-{model}", (judge, second, trained), numbers)


def _scores_stage(
    place: Place, judge: Stage, second: Stage, samples: Stage, setting: Setting, part: str, *, line: int
) -> Stage:
    labels = sample_labels(place.plan, part)

    def scores(evaluator: Evaluator) -> dict[str, Any]:
        return evaluator.scores(load_samples(samples), labels, asked=True)

    return _judged(place, f"scores-{setting.model}", (judge, second, samples), scores, part)


def _report_stage(place: Place, judge: Stage, second: Stage, *needed: Any, line: int) -> Stage:
    """The headline setting's scores over generation seeds, as `var evaluate` reports them."""
    *sets, setting = needed
    plan, protocol = place.plan, None
    labels = sample_labels(plan)
    if plan.per_class is not None:
        protocol = {
            "name": f"{plan.data.source} ({setting.model})",
            "sampling": setting.sampling.keywords(),
            "per_class": plan.per_class,
            "rounding": plan.rounding,
        }

    def report(evaluator: Evaluator) -> dict[str, Any]:
        images = [load_samples(stage) for stage in sets]
        return score_report(evaluator, setting.model, images, labels, plan.reference, protocol).to_dict()

    return _judged(place, f"report-{setting.model}", (judge, second, *sets), report)


def _report(place: Place, seeds: list[int], stages: dict[str, Stage]) -> Report:
    """Scores of all samples and controls, with the times, as a report: means over the training seeds."""
    plan, part = place.plan, place.plan.data.reference
    rows: list[list[dict[str, Any]]] = [[] for _ in seeds]
    for seed, mine in zip(seeds, rows, strict=True):
        for model in plan.models:
            times = _returned(stages[f"times of {model} #{seed}"])
            cost = training_cost(place, model, seed, stages)
            for index, setting in enumerate(settings_of(plan, model)):
                sampling = {key: values[index] for key, values in times.items()}
                if setting.headline:
                    scores = _mean_of_sets(_returned(stages[f"report on {model} #{seed}"]))
                else:
                    scores = _returned(stages[_scores_name(setting, seed, part)])
                mine.append(result_row(setting, scores, sampling, cost, seed))
    parts = {seed: [_returned(stages[f"parts of {model} #{seed}"]) for model in plan.models] for seed in seeds}
    by_seed = [{k: v for each in found for k, v in each["controls"].items()} for found in parts.values()]
    own_controls = {name: over_seeds([one[name] for one in by_seed]) for name in by_seed[0]}
    tokenizer = next((each["health"] for each in parts[seeds[0]] if each["health"]), {})
    trained = {name: {key: stages[name].record[key] for key in ("digest", "test_accuracy")} for name in JUDGES}
    about = plan.data.part("train")
    return Report(
        results=[over_seeds(list(same)) for same in zip(*rows, strict=True)],
        controls=_returned(stages["controls"]) | own_controls,
        tokenizer=tokenizer,
        environment=environment(TIMING_THREADS, place.device, _seconds(stages)),
        settings={
            "extractor": plan.judge.name,
            "seed": seeds[0],
            "seeds": seeds,
            "judges": trained,
            "notes": list(plan.data.notes),
            "licence": getattr(about, "licence", None),
            "attribution": getattr(about, "attribution", None),
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
    write_samples(output, plan, samples)
    trained = {model: stages[model_name(place, model, seed)] for model in plan.models}
    pipelines = {
        model: load_pipeline(CONTENDERS[model], stage.folder, place.device) for model, stage in trained.items()
    }
    keep_pipelines(output, pipelines)
    histories = {
        name.partition(" #")[0]: (name.partition(" #")[2].split()[0], stage.record["history"])
        for name, stage in stages.items()
        if stage.record.get("history") and name.endswith(f" {seed}")
    }
    write_page(output, report, plan, pipelines, samples, histories)
    report.to_json(output / "report.json")


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
        print(f"reused from an earlier run with the same settings: {', '.join(reused)}", file=sys.stderr)
