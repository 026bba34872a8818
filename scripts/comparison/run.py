"""The comparison from beginning to end: train, sample, judge, time, report."""

import sys
from functools import lru_cache
from pathlib import Path
from typing import Any

from comparison.assemble import environment, keep_pipelines, result_row, write_page, write_samples
from comparison.report.results import Report
from comparison.sampling import (
    Setting,
    classes,
    diffusion_settings,
    load_samples,
    sample_labels,
    samples_name,
    sampling_jobs,
    timing_stage,
    var_settings,
)
from comparison.schedule import Job, Place, carry_out
from comparison.scoring import Evaluator, controls, score_report, tokenizer_numbers
from comparison.settings import CODE_VERSION, Comparison
from comparison.stages import Stage, StageStore
from comparison.training import load_judge, load_pipeline, training_jobs
from var.data.apart import check_apart
from var.data.catalog import places_of
from var.devices import chosen_device
from var.errors import UserError
from var.evaluation.table import TABLE
from var.locks import LOCK, sole_owner
from var.nested import plain
from var.vqvae import VQVAE

TIMING_THREADS = 1
"""Threads of a timed sampler, as in training: the models are too small to gain from a second one."""

JUDGES = ("judge", "second")


def run(plan: Comparison, output: Path, *, seed: int, device: str | None, fresh: bool) -> Report:
    """Compare as `plan` says and fill the folder `output`, which is this process's meanwhile; returns the report."""
    _check_place(output, plan)
    with sole_owner(output):
        return _run(plan, output, seed=seed, device=device, fresh=fresh)


def _check_place(output: Path, plan: Comparison) -> None:
    """Raise `UserError` for a folder that is neither new nor that of a comparison, and for one in the data."""
    check_apart(output, places_of(plan.data))
    strangers = [path.name for path in output.iterdir() if path.name != LOCK] if output.is_dir() else []
    if strangers and not (output / "stages").is_dir():
        raise UserError(
            f"the output {output} must be a new folder or that of a comparison, but it holds {min(strangers)}; choose "
            "another --output"
        )


def _run(plan: Comparison, output: Path, *, seed: int, device: str | None, fresh: bool) -> Report:
    place = Place(root=output / "stages", plan=plan, seed=seed, device=chosen_device(device))
    StageStore(place.root).sweep(everything=fresh)
    by_model = {"var": var_settings(plan), "diffusion": diffusion_settings(plan)}
    settings = [setting for each in by_model.values() for setting in each]
    jobs = [*training_jobs(place), *sampling_jobs(settings, plan.generation_seeds), *_judging_jobs(settings, plan)]
    stages = carry_out(jobs, place)
    # The processes have ended: nothing else runs here while the samplers are timed.
    for model, each in by_model.items():
        stages[f"times of {model}"] = timing_stage(place, stages[model], each, TIMING_THREADS)
    _say_reused(stages)
    report = _report(place, by_model, stages)
    _write(output, report, place, settings, stages)
    return report


def _judging_jobs(settings: list[Setting], plan: Comparison) -> list[Job]:
    """The scores of every setting, the reports on the headline settings, the controls and the tokenizer's numbers."""
    jobs = [
        Job("controls", _controls_stage, (*JUDGES, "tokenizer")),
        Job("reconstructions", _tokenizer_stage, (*JUDGES, "tokenizer")),
    ]
    for setting in settings:
        jobs.append(Job(f"scores of {setting.key}", _scores_stage, (*JUDGES, samples_name(setting)), (setting,)))
        if setting.headline:
            sets = tuple(samples_name(setting, number) for number in range(plan.generation_seeds))
            jobs.append(Job(f"report on {setting.model}", _report_stage, (*JUDGES, *sets, setting.model), (setting,)))
    return jobs


def _judged(place: Place, name: str, inputs: tuple[Stage, ...], judge: Any) -> Stage:
    """The stage of what `judge(evaluator)` finds; `inputs` are the two trained judges and what they look at."""

    def work(_: Path) -> dict[str, Any]:
        return judge(_evaluator(place.plan.data, *(str(stage.folder) for stage in inputs[:2])))

    known = {
        "scores": [score.key for score in TABLE],
        "per_class": place.plan.per_class,
        "reference": place.plan.reference,
    }
    return place.stage(name, {"code": CODE_VERSION, "inputs": [stage.key for stage in inputs], **known}, work)


@lru_cache(maxsize=1)
def _evaluator(data: str, *judges: str) -> Evaluator:
    """Both judges and the real images as they see them, once per process."""
    return Evaluator.of(data, *(load_judge(Path(folder)) for folder in judges))


def _controls_stage(place: Place, judge: Stage, second: Stage, tokenizer: Stage, *, line: int) -> Stage:
    vqvae = VQVAE.from_pretrained(tokenizer.folder / "model")
    inputs = (judge, second, tokenizer)
    return _judged(place, "controls", inputs, lambda evaluator: controls(evaluator, place.plan, vqvae))


def _tokenizer_stage(place: Place, judge: Stage, second: Stage, tokenizer: Stage, *, line: int) -> Stage:
    vqvae = VQVAE.from_pretrained(tokenizer.folder / "model")

    def numbers(evaluator: Evaluator) -> dict[str, Any]:
        return tokenizer_numbers(evaluator, place.plan, vqvae, tokenizer.record)

    return _judged(place, "reconstructions", (judge, second, tokenizer), numbers)


def _scores_stage(place: Place, judge: Stage, second: Stage, samples: Stage, setting: Setting, *, line: int) -> Stage:
    labels = sample_labels(classes(place.plan), place.plan.per_class)

    def scores(evaluator: Evaluator) -> dict[str, Any]:
        return evaluator.scores(load_samples(samples), labels)

    return _judged(place, f"scores-{setting.model}", (judge, second, samples), scores)


def _report_stage(place: Place, judge: Stage, second: Stage, *needed: Any, line: int) -> Stage:
    """The headline setting's scores over generation seeds, as `var evaluate` reports them."""
    *sets, trained, setting = needed
    plan = place.plan
    labels = sample_labels(classes(plan), plan.per_class)
    protocol = {
        "name": f"{plan.data} ({setting.model})",
        "sampling": setting.sampling.keywords(),
        "per_class": plan.per_class,
        "rounding": plan.rounding,
    }

    def report(evaluator: Evaluator) -> dict[str, Any]:
        images = [load_samples(stage) for stage in sets]
        return score_report(evaluator, setting.model, images, labels, plan.reference, protocol).to_dict()

    return _judged(place, f"report-{setting.model}", (judge, second, trained, *sets), report)


def _report(place: Place, by_model: dict[str, list[Setting]], stages: dict[str, Stage]) -> Report:
    """Scores of all samples and controls, with the times, as a report."""
    rows: list[dict[str, Any]] = []
    for model, settings in by_model.items():
        times, cost = _returned(stages[f"times of {model}"]), _training_cost(model, stages)
        for index, setting in enumerate(settings):
            sampling = {key: values[index] for key, values in times.items()}
            scores = _returned(stages[f"scores of {setting.key}"])
            rows.append(result_row(setting, scores, sampling, cost, place.seed))
    trained = {name: {key: stages[name].record[key] for key in ("digest", "test_accuracy")} for name in JUDGES}
    return Report(
        results=rows,
        controls=_returned(stages["controls"]),
        tokenizer=_returned(stages["reconstructions"]),
        environment=environment(TIMING_THREADS, place.device, _seconds(stages)),
        settings={
            "extractor": place.plan.judge.name,
            "seed": place.seed,
            "judges": trained,
            **plain(place.plan.settings()),
        },
        scores={model: _returned(stages[f"report on {model}"]) for model in by_model},
    )


def _returned(stage: Stage) -> dict[str, Any]:
    """What the work of a stage returned."""
    return {name: value for name, value in stage.record.items() if name not in ("seconds", "settings")}


def _write(output: Path, report: Report, place: Place, settings: list[Setting], stages: dict[str, Stage]) -> None:
    """All files of the output folder; report.json last, so that it stands for a whole one."""
    plan, models = place.plan, ("var", "diffusion")
    samples = {one.model: load_samples(stages[samples_name(one)]) for one in settings if one.headline}
    headline = {model: samples[model] for model in models}
    write_samples(output, plan, headline)
    keep_pipelines(output, {model: stages[model] for model in models})
    pipelines: Any = tuple(load_pipeline(model, stages[model].folder, place.device) for model in models)
    titles = {"tokenizer": "tokenizer", "var": "transformer", "diffusion": "diffusion"}
    histories = {title: stages[name].record["history"] for name, title in titles.items()}
    write_page(output, report, plan, pipelines, headline, histories)
    report.to_json(output / "report.json")


def _seconds(stages: dict[str, Stage]) -> dict[str, float]:
    """Seconds by kind of stage: those of all settings of a model together."""
    seconds: dict[str, float] = {}
    for name, stage in stages.items():
        seconds[_kind(name)] = seconds.get(_kind(name), 0.0) + stage.record["seconds"]
    return seconds


def _kind(name: str) -> str:
    """A stage's name without its setting: "samples of var"."""
    return " ".join(name.split()[:3])


def _training_cost(model: str, stages: dict[str, Stage]) -> dict[str, Any]:
    """Parameters, training seconds and operations of a model; the tokenizer is a part of VAR and counts."""
    names = ("tokenizer", "var") if model == "var" else ("diffusion",)
    records = [stages[name].record for name in names]
    return {key: sum(record[key] for record in records) for key in ("parameters", "train_seconds", "train_flops")}


def _say_reused(stages: dict[str, Stage]) -> None:
    reused = dict.fromkeys(_kind(name) for name, stage in stages.items() if stage.reused)
    if reused:
        print(f"reused from an earlier run with the same settings: {', '.join(reused)}", file=sys.stderr)
