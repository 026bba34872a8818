"""The comparison from beginning to end: train, sample, time, judge, report."""

import json
import multiprocessing
import signal
import sys
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from comparison.assemble import environment, keep_pipelines, result_row, write_page, write_samples
from comparison.report.results import Report
from comparison.sampling import (
    Setting,
    diffusion_settings,
    load_samples,
    load_sets,
    sample_labels,
    sample_stage,
    timing_stage,
    var_settings,
)
from comparison.scoring import Evaluator, controls, score_report, tokenizer_numbers
from comparison.settings import Comparison
from comparison.stages import Stage, StageStore
from comparison.training import load_judge, load_pipeline, train_branch
from var.devices import chosen_device
from var.files import make_folder
from var.vqvae import VQVAE

PROCESSES = 2
"""Trainings and samplings that run side by side, on one thread each: two threads in one process gain little."""

TIMING_THREADS = 1
"""Threads of a timed sampler, as in training: the models are too small to gain from a second one."""


def run(plan: Comparison, output: Path, *, seed: int, device: str | None, fresh: bool) -> Report:
    """Compare as `plan` says and fill the folder `output`; returns the report."""
    device = chosen_device(device)
    make_folder(output)
    store = StageStore(output / "stages")
    store.sweep(everything=fresh)
    settings = {"var": var_settings(plan), "diffusion": diffusion_settings(plan)}
    with multiprocessing.get_context("spawn").Pool(PROCESSES, initializer=_start_worker) as pool:
        stages = _train(store, plan, seed, device, pool)
        for model, each in settings.items():
            stages[f"samples of {model}"] = sample_stage(store, pool, stages[model], each, plan, seed, device)
        pool.close()
        pool.join()
    # The processes have ended: nothing else runs here while the samplers are timed.
    for model, each in settings.items():
        stages[f"times of {model}"] = timing_stage(store, stages[model], each, plan, device, TIMING_THREADS)
    _say_reused(stages)
    torch.set_num_threads(PROCESSES)
    report = _judge(plan, settings, stages, seed, device)
    _write(output, report, plan, settings, stages, device)
    return report


def _write(
    output: Path,
    report: Report,
    plan: Comparison,
    settings: dict[str, list[Setting]],
    stages: dict[str, Stage],
    device: str,
) -> None:
    """All files of the output folder; report.json last, so that it stands for a whole one."""
    headline = {
        model: load_samples(stages[f"samples of {model}"], next(i for i, row in enumerate(each) if row.headline))
        for model, each in settings.items()
    }
    write_samples(output, plan, headline)
    keep_pipelines(output, {model: stages[model] for model in settings})
    pipelines: Any = tuple(load_pipeline(model, stages[model].folder, device) for model in settings)
    titles = {"tokenizer": "tokenizer", "var": "transformer", "diffusion": "diffusion"}
    histories = {title: stages[name].record["history"] for name, title in titles.items()}
    write_page(output, report, plan, pipelines, headline, histories)
    report.to_json(output / "report.json")


def _train(store: StageStore, plan: Comparison, seed: int, device: str, pool: Pool) -> dict[str, Stage]:
    """Both branches side by side."""
    jobs = [(branch, store.root, plan, seed, device, line) for line, branch in enumerate(("var", "diffusion"))]
    return {name: stage for stages in pool.imap_unordered(train_branch, jobs) for name, stage in stages.items()}


def _judge(
    plan: Comparison, settings: dict[str, list[Setting]], stages: dict[str, Stage], seed: int, device: str
) -> Report:
    """Scores of all samples and controls, with the times, as a report."""
    evaluator = Evaluator.of(plan, load_judge(stages["judge"]), load_judge(stages["second"]))
    vqvae = VQVAE.from_pretrained(stages["tokenizer"].folder / "model")
    labels = sample_labels(plan.transformer.transformer.num_classes, plan.per_class)
    rows: list[dict[str, Any]] = []
    spreads: dict[str, dict[str, Any]] = {}
    with tqdm(total=sum(map(len, settings.values())), desc="judge") as bar:
        for model, each in settings.items():
            times, samples = stages[f"times of {model}"].record, stages[f"samples of {model}"]
            cost = _training_cost(model, stages)
            for index, setting in enumerate(each):
                sampling = {key: times[key][index] for key in ("seconds_per_1000_images", "flops_per_image")}
                scores = evaluator.scores(load_samples(samples, index), labels)
                rows.append(result_row(setting, scores, sampling, cost, seed))
                if setting.headline:
                    sets = load_sets(samples, index, plan.generation_seeds)
                    spreads[model] = _spread(evaluator, plan, setting, sets, labels)
                bar.update()
    trained = {
        name: {key: stages[name].record[key] for key in ("digest", "test_accuracy")} for name in ("judge", "second")
    }
    plain = json.loads(json.dumps(plan.settings()))
    return Report(
        results=rows,
        controls=controls(evaluator, plan, vqvae),
        tokenizer=tokenizer_numbers(evaluator, plan, vqvae, stages["tokenizer"].record),
        environment=environment(
            TIMING_THREADS, device, {name: stage.record["seconds"] for name, stage in stages.items()}
        ),
        settings={"extractor": plan.judge.name, "seed": seed, "judges": trained, **plain},
        scores=spreads,
    )


def _spread(
    evaluator: Evaluator, plan: Comparison, setting: Setting, sets: list[Tensor], labels: Tensor
) -> dict[str, Any]:
    """The headline setting's scores over generation seeds, as `var evaluate` reports them."""
    name, sampling = f"{plan.data} ({setting.model})", setting.sampling.keywords()
    protocol = {"name": name, "sampling": sampling, "per_class": plan.per_class, "rounding": plan.rounding}
    return score_report(evaluator, setting.model, sets, labels, plan.reference, protocol).to_dict()


def _training_cost(model: str, stages: dict[str, Stage]) -> dict[str, Any]:
    """Parameters, training seconds and operations of a model; the tokenizer is a part of VAR and counts."""
    names = ("tokenizer", "var") if model == "var" else ("diffusion",)
    records = [stages[name].record for name in names]
    return {key: sum(record[key] for record in records) for key in ("parameters", "train_seconds", "train_flops")}


def _say_reused(stages: dict[str, Stage]) -> None:
    reused = [name for name, stage in stages.items() if stage.reused]
    if reused:
        print(f"reused from an earlier run with the same settings: {', '.join(reused)}", file=sys.stderr)


def _start_worker() -> None:
    """One thread a process; Ctrl-C is the main process's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
