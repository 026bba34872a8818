"""The stages that judge: scores of all samples, reports on headline settings, controls, and what a sweep chooses."""

import warnings
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any

from comparison.contenders import Setting
from comparison.data import DataSet
from comparison.families import FAMILIES
from comparison.report.wording import with_and
from comparison.sampling import load_samples, sample_labels, sample_prompts, samples_name, sampling_jobs
from comparison.schedule import Job, Place, carry_out
from comparison.scoring import Evaluator, controls, health, model_controls, score_report
from comparison.settings import CODE_VERSION
from comparison.stages import Stage
from comparison.training import JUDGES, load_judge, load_pipeline, model_name
from var.evaluation.metrics.frechet import RankDeficientWarning
from var.evaluation.table import TABLE
from var.quantities import count


def judging_jobs(place: Place, settings: list[Setting], seeds: list[int]) -> list[Job]:
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


def scores_name(setting: Setting, seed: int, part: str) -> str:
    return f"scores of {setting.model} #{setting.key} {seed} {part}"


def _scores_job(setting: Setting, seed: int, part: str) -> Job:
    needs = (*JUDGES, samples_name(setting, 0, seed, part))
    return Job(scores_name(setting, seed, part), _scores_stage, needs, (setting, part))


def _judged(place: Place, name: str, inputs: tuple[Stage, ...], judge: Any, part: str | None = None) -> Stage:
    """The stage of what `judge(evaluator)` finds; `inputs` are the two trained judges and what they look at."""
    part = part or place.plan.data.reference

    def work(_: Path) -> dict[str, Any]:
        judges = (str(stage.folder) for stage in inputs[:2])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RankDeficientWarning)  # the reports say it in their cautions
            return judge(_evaluator(place.plan.data, part, *judges))

    known = {
        "scores": [score.key for score in TABLE],
        "per_class": place.plan.per_class,
        "most": place.plan.most_samples,
        "reference": part,
        "data": place.data_digest,
        # Copies of what was trained on elsewhere are not looked for; keys of other comparisons stay as they were.
        **({} if place.plan.data.trained_on else {"trained_on": False}),
    }
    return place.stage(name, {"code": CODE_VERSION, "inputs": [stage.key for stage in inputs], **known}, work)


@lru_cache(maxsize=2)
def _evaluator(data: DataSet, part: str, *judges: str) -> Evaluator:
    """Both judges and the real images as they see them, once per process."""
    return Evaluator.of(data, part, *(load_judge(Path(folder)) for folder in judges))


def _controls_stage(place: Place, judge: Stage, second: Stage, *, line: int) -> Stage:
    return _judged(place, "controls", (judge, second), lambda evaluator: controls(evaluator, place.plan))


def _parts_stage(place: Place, judge: Stage, second: Stage, trained: Stage, model: str, *, line: int) -> Stage:
    """What is found of the parts of a model: controls, and the numbers on its tokenizer."""
    contender = FAMILIES[model]

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
    labels, prompts = sample_labels(place.plan, part), sample_prompts(place.plan, part)

    def scores(evaluator: Evaluator) -> dict[str, Any]:
        return evaluator.scores(load_samples(samples), labels, prompts=prompts)

    return _judged(place, f"scores-{setting.model}", (judge, second, samples), scores, part)


def _report_stage(place: Place, judge: Stage, second: Stage, *needed: Any, line: int) -> Stage:
    """The headline setting's scores over generation seeds, as `var evaluate` reports them."""
    *sets, setting = needed
    plan, protocol = place.plan, None
    labels, prompts = sample_labels(plan), sample_prompts(plan)
    if plan.per_class is not None:
        protocol = {
            "name": f"{plan.data.source} ({setting.model})",
            "sampling": setting.sampling.keywords(),
            "per_class": plan.per_class,
            "rounding": plan.rounding,
        }

    def report(evaluator: Evaluator) -> dict[str, Any]:
        images = [load_samples(stage) for stage in sets]
        return score_report(evaluator, setting.model, images, labels, prompts, plan.reference, protocol).to_dict()

    return _judged(place, f"report-{setting.model}", (judge, second, *sets), report)


def choose(place: Place, jobs: list[Job], seeds: list[int]) -> tuple[Place, dict[str, Stage]]:
    """The plan with the settings of least distance on validation images, the mean over seeds; and the stages so far."""
    plan = place.plan
    grids = {
        model: [FAMILIES[model].setting(each, one) for each in dict.fromkeys((one.headline, *one.grid))]
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
        return fmean(stages[scores_name(setting, seed, "val")].record["fd"] for seed in seeds)

    models = {}
    for model, one in plan.models.items():
        best = min(grids[model], key=distance).sampling
        models[model] = replace(one, headline=best, sweep=FAMILIES[model].around(best))
    images = len(sample_labels(plan, "val"))
    tries = with_and([f"{count(len(grid), 'setting')} of {FAMILIES[model].word}" for model, grid in grids.items()])
    chosen_on = f"{images} validation images, among {tries}"
    return replace(place, plan=replace(plan, models=models, chosen_on=chosen_on)), stages
