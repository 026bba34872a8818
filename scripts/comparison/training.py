"""The stages that train: the judges, and every stage of every model; and those of models that are trained already."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from comparison.contenders import Contender
from comparison.families import FAMILIES
from comparison.processes import launched
from comparison.schedule import Job, Place
from comparison.settings import CODE_VERSION, Comparison
from comparison.stages import Stage
from var.configs import config_to_dict
from var.errors import UserError
from var.evaluation.features.classifier import Classifier, ClassifierConfig, train_classifier
from var.files import remove_folder, write_json
from var.foreign.documents import read_json
from var.foreign.logs import read_log
from var.nested import plain
from var.runs import job as runs
from var.runs.carrying_out import carry_out
from var.runs.cost import training_flops
from var.runs.evaluation import in_memory
from var.runs.folder import RunFolder
from var.runs.session import Session
from var.training import TrainingConfig
from var.training.distributed import Processes
from var.training.signals import StopSignals

JUDGES = ("judge", "second")
MODEL = "model"  # the folder within a stage's

NOT_OF_TRAINING = ("data", "evaluation", "checkpoints", "sampling", "guidance_scale", "sampling_steps")
"""Settings of a run that do not move its weights; those of the data but for their name do."""


def trained_name(model: str, stage: str, seed: int) -> str:
    """The job that trains a stage of a model."""
    return f"{stage} #{model} {seed}"


def model_name(place: Place, model: str, seed: int) -> str:
    """The job that leaves the trained pipeline of a model."""
    stages = list(place.plan.models[model].runs)
    return trained_name(model, stages[-1], seed) if stages else f"model of {model} #"


def judge_jobs(place: Place) -> list[Job]:
    """Both judges, which are the same whatever the seed of the models."""
    configs = (place.plan.judge, place.plan.second_judge)
    return [Job(name, judge_stage, (), (config,)) for name, config in zip(JUDGES, configs, strict=True)]


def check_batches(plan: Comparison) -> None:
    """Raise `UserError` for fewer training images than a batch of the preset has, which no option here changes."""
    images = len(plan.data.part("train"))
    most = max((run.training.batch_size for model in plan.models.values() for run in model.runs.values()), default=0)
    if images < most:
        raise UserError(
            f"a comparison needs {most} training images or more, a batch of the preset {plan.preset!r}, got {images} "
            f"in {plan.data.source}; add images, or name another --preset"
        )


def training_jobs(place: Place, seeds: list[int]) -> list[Job]:
    """The longest first; both judges fill the time in which one process has nothing else to do."""
    jobs = []
    for model, plan in sorted(place.plan.models.items(), key=lambda item: len(item[1].runs)):
        if not plan.runs:
            jobs.append(Job(f"model of {model} #", given_stage, (), (model,)))
        for seed in seeds:
            names = [trained_name(model, stage, seed) for stage in plan.runs]
            jobs += [
                Job(name, model_stage, tuple(names[:number]), (model, stage, seed), together=True)
                for number, (name, stage) in enumerate(zip(names, plan.runs, strict=True))
            ]
    return [*sorted(jobs, key=lambda job: job.name.split()[-1]), *judge_jobs(place)]


def base(place: Place) -> dict[str, Any]:
    return {"code": CODE_VERSION, "torch": torch.__version__, "data": place.data_digest, "device": place.device}


def judge_stage(place: Place, config: ClassifierConfig, *, line: int) -> Stage:
    """A trained classifier. Its seed is fixed: the judge must not change with the models' seed."""
    plan, device = place.plan, place.device

    def work(folder: Path) -> dict[str, Any]:
        data = in_memory(plan.data.part("train"))
        judge = train_classifier(data, config=config, steps=plan.judge_steps, seed=0, device=device, bar_line=line)
        judge.save_pretrained(folder / MODEL)
        return {"digest": judge.digest, "test_accuracy": judge.to("cpu").accuracy(plan.data.part("test"))}

    settings = base(place) | {"config": config_to_dict(config), "steps": plan.judge_steps}
    return place.stage(f"judge-{config.name}", settings, work)


def model_stage(place: Place, *needed: Any, line: int) -> Stage:
    """A stage of a model, trained as `var train` does: killed at any time, it goes on inside the training."""
    *before, model, stage, seed = needed
    contender, plan = FAMILIES[model], place.plan.models[model]
    run = seeded(plan.runs[stage], place.plan.data.source, seed)

    def work(folder: Path) -> dict[str, Any]:
        folders = {name: each.folder / MODEL for name, each in zip(plan.runs, before, strict=False)}
        job = contender.job(stage, run, place.plan.data.part("train"), folders)
        return _trained(job, folder, place.device, line)

    settings = base(place) | {"before": [each.key for each in before], "run": told(run)}
    processes = Processes(place.device)
    made = place.stage(stage, settings, work, processes=processes)
    processes.from_main(lambda: _tidy(made.folder / MODEL))
    return made


def _tidy(folder: Path) -> None:
    """Remove what nothing goes on from any more."""
    for left in (folder / name for name in ("checkpoints", "tokens")):
        if left.exists():
            remove_folder(left)


def seeded(run: Any, source: str, seed: int) -> Any:
    """The run of one training seed, which is not judged while it trains."""
    return replace(
        run,
        data=replace(run.data, source=source),
        training=replace(run.training, seed=seed),
        evaluation=replace(run.evaluation, every=0),
    )


def told(run: Any) -> dict[str, Any]:
    """The settings of a run that its weights depend on, fit for JSON."""
    values = plain(config_to_dict(run))
    varied = {name: value for name, value in values["data"].items() if name != "source"}
    return {name: value for name, value in values.items() if name not in NOT_OF_TRAINING} | {"varied": varied}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Quiet(Session):
    """A session among others, whose lines would fall into their bars.

    The first line comes when all is prepared, such as the tokens of all images: the seconds that it took are kept,
    those of the start that was not spared them.
    """

    started: float
    prepared: Path

    def say(self, text: str) -> None:
        """Say nothing."""
        if self.processes.is_main and not self.prepared.exists():
            write_json(self.prepared, {"seconds": time.perf_counter() - self.started})


def _trained(job: runs.Job[Any], folder: Path, device: str, line: int) -> dict[str, Any]:
    """Train in `folder` until the run is finished; returns what its stage keeps.

    Ends this process, saved, if a signal stops it: a process of a pool that only returned would go on to wait.
    """
    run, processes, prepared = RunFolder(folder / MODEL), Processes(device), folder / "prepared.json"
    where = {"folder": run, "processes": processes, "progress": True, "workers": 0, "trackers": (), "bar_line": line}
    with StopSignals() as signals:
        carry_out(job, _Quiet(**where, started=time.perf_counter(), prepared=prepared), signals)
    # A signal that comes with the last step leaves a finished run: that a pool wants its end must not be forgotten.
    (stopped,) = processes.any(signals.requested() or not run.is_finished(job.settings.training.steps))
    if stopped:
        if launched() and processes.is_main:
            print("\ncompare.py: stopped, and saved; run the same command again to go on", file=sys.stderr)
        processes.leave()
        sys.exit(0)
    return {
        "train_seconds": read_json(run.finished)["seconds"] + read_json(prepared)["seconds"],
        "processes": processes.count,  # that ended it
        "history": [row for row in read_log(run.log) if "loss" in row],
        **counted(job, folder / MODEL, device),
    }


def counted(
    job: runs.Job[Any], folder: Path, device: str, *, training: TrainingConfig | None = None, save: bool = False
) -> dict[str, int]:
    """Parameters and operations of a training; `folder` is for what it needs besides, such as tokens.

    `training` is another than the job's own; with `save` the untrained model is left in the folder.
    """
    session = Session(folder=RunFolder(folder), processes=Processes(device), progress=False, workers=0, trackers=())
    prepared = job.prepare(session)
    prepared.task.model.to(session.processes.device)
    parameters = sum(weight.numel() for weight in prepared.task.model.parameters()) if job.adds_parameters else 0
    if save:
        job.save(prepared.task, folder)
    flops = training_flops(prepared.task, prepared.data, training or job.settings.training)
    return {"parameters": parameters, "train_flops": flops}


def given_stage(place: Place, model: str, *, line: int) -> Stage:
    """A model that was trained elsewhere, as it is."""
    from comparison.trained import load_trained, weights_digest

    contender, source = FAMILIES[model], place.plan.models[model].trained

    def work(folder: Path) -> dict[str, Any]:
        pipeline = load_trained(contender, source)[0]
        pipeline.save_pretrained(folder / MODEL)
        parameters = sum(weight.numel() for part in pipeline.models().values() for weight in part.parameters())
        return {"parameters": parameters, "train_seconds": None, "train_flops": None, "history": []}

    return place.stage(f"given-{model}", {"code": CODE_VERSION, "weights": weights_digest(contender, source)}, work)


def load_judge(folder: Path) -> Classifier:
    """The classifier that a judge's stage left."""
    return Classifier.from_pretrained(folder / MODEL)


def load_pipeline(contender: Contender, folder: Path, device: str) -> Any:
    """The pipeline that a model's last stage left."""
    return contender.pipeline.from_pretrained(folder / MODEL).to(device)  # pyright: ignore[reportAttributeAccessIssue]


def training_cost(place: Place, model: str, seed: int, stages: Mapping[str, Stage]) -> dict[str, Any]:
    """Parameters, seconds and operations of all stages of a model, None if not known; of several processes how many."""
    names = [trained_name(model, stage, seed) for stage in place.plan.models[model].runs]
    records = [stages[name].record for name in names or [model_name(place, model, seed)]]
    processes = max(record.get("processes", 1) for record in records)
    costs: dict[str, Any] = {"train_processes": processes} if processes > 1 else {}
    for key in ("parameters", "train_seconds", "train_flops"):
        values = [record[key] for record in records]
        costs[key] = None if None in values else sum(values)
    return costs
