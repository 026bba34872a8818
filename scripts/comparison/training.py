"""The stages that train: the judges, the tokenizer, the transformer, the diffusion model."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch

from comparison.schedule import Job, Place
from comparison.settings import CODE_VERSION, Run
from comparison.stages import Stage
from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.task import DiffusionTask
from var.configs import config_to_dict
from var.data.base import ImageData
from var.data.catalog import open_data
from var.evaluation.features.classifier import Classifier, ClassifierConfig, train_classifier
from var.generation import VARPipeline
from var.nested import plain
from var.recipes.transformer.task import TransformerTask
from var.recipes.transformer.token_cache import TokenCache
from var.recipes.vqvae.task import VQVAETask
from var.runs.cost import training_flops
from var.runs.settings import RunSettings
from var.training import Task, train
from var.vqvae import VQVAE

AnyTask = TypeVar("AnyTask", bound=Task)


def training_jobs(place: Place) -> list[Job]:
    """The longest first; both judges fill the time in which one process has nothing else to do."""
    return [
        Job("diffusion", diffusion_stage),
        Job("tokenizer", tokenizer_stage),
        Job("var", var_stage, ("tokenizer",)),
        Job("judge", judge_stage, (), (place.plan.judge,)),
        Job("second", judge_stage, (), (place.plan.second_judge,)),
    ]


def _base(place: Place) -> dict[str, Any]:
    seed, device = place.seed, place.device
    return {"code": CODE_VERSION, "torch": torch.__version__, "data": place.plan.data, "seed": seed, "device": device}


def _trained(
    task_of: Callable[[], AnyTask], run: RunSettings, data: ImageData, folder: Path, name: str, device: str, line: int
) -> tuple[AnyTask, dict[str, Any]]:
    """The task that `task_of` makes, trained as `run` says, and what its stage keeps."""
    task = task_of()
    log = folder / "training.jsonl"
    result = train(task, data, run.training, log=log, description=name, device=device, bar_line=line)
    counted = task_of()
    counted.model.to(device)
    return task, {
        "train_seconds": result.seconds,
        "parameters": sum(parameter.numel() for parameter in task.model.parameters()),
        "history": result.history,
        "train_flops": training_flops(counted, data, run.training),
    }


def judge_stage(place: Place, config: ClassifierConfig, *, line: int) -> Stage:
    """A trained classifier. Its seed is fixed: the judge must not change with the models' seed."""
    plan, device = place.plan, place.device

    def work(folder: Path) -> dict[str, Any]:
        data = open_data(plan.data, split="train")
        judge = train_classifier(data, config=config, steps=plan.judge_steps, seed=0, device=device, bar_line=line)
        judge.save_pretrained(folder / "model")
        return {
            "digest": judge.digest,
            "test_accuracy": judge.accuracy(open_data(plan.data, split="test")),
        }

    settings = _base(replace(place, seed=0)) | {"config": config_to_dict(config), "steps": plan.judge_steps}
    return place.stage(f"judge-{config.name}", settings, work)


def tokenizer_stage(place: Place, *, line: int) -> Stage:
    """A trained tokenizer."""
    plan, seed, device = place.plan, place.seed, place.device
    run = _seeded(plan.tokenizer, seed)

    def work(folder: Path) -> dict[str, Any]:
        data = open_data(plan.data, split="train")
        task, record = _trained(lambda: VQVAETask(run.model(seed=seed)), run, data, folder, "tokenizer", device, line)
        task.model.save_pretrained(folder / "model")
        return record

    settings = _base(place) | {"config": config_to_dict(run.vqvae), "training": config_to_dict(plan.tokenizer.training)}
    return place.stage("tokenizer", settings, work)


def var_stage(place: Place, tokenizer: Stage, *, line: int) -> Stage:
    """A trained VAR pipeline: the transformer on the tokens of the stage `tokenizer`."""
    plan, seed, device = place.plan, place.seed, place.device
    run = _seeded(plan.transformer, seed)
    variants, temperature = run.tokens.variants, run.tokens.temperature

    def work(folder: Path) -> dict[str, Any]:
        data = open_data(plan.data, split="train")
        vqvae = VQVAE.from_pretrained(tokenizer.folder / "model", device=device)
        started = time.perf_counter()
        cache = TokenCache.of(data, vqvae, variants=variants, temperature=temperature, seed=seed, bar_line=line)
        encode_seconds = time.perf_counter() - started

        def task_of() -> TransformerTask:
            return TransformerTask(run.model(seed=seed), vqvae, label_drop=run.label_drop, cache=cache)

        task, record = _trained(task_of, run, data, folder, "transformer", device, line)
        VARPipeline(vqvae, task.model).save_pretrained(folder / "model")
        return record | {"train_seconds": record["train_seconds"] + encode_seconds}

    settings = _base(place) | {
        "tokenizer": tokenizer.key,
        "config": config_to_dict(run.transformer),
        "training": config_to_dict(plan.transformer.training),
        "label_drop": run.label_drop,
        "tokens": [variants, temperature],
    }
    return place.stage("var", settings, work)


def diffusion_stage(place: Place, *, line: int) -> Stage:
    """A trained diffusion pipeline."""
    plan, seed, device = place.plan, place.seed, place.device
    run = _seeded(plan.diffusion, seed)

    def work(folder: Path) -> dict[str, Any]:
        data = open_data(plan.data, split="train")

        def task_of() -> DiffusionTask:
            return DiffusionTask(run.pipeline(data.classes, seed=seed), label_drop=run.label_drop)

        task, record = _trained(task_of, run, data, folder, "diffusion", device, line)
        task.pipeline.save_pretrained(folder / "model")
        return record

    # How samples are drawn is no matter of training.
    settings = {name: value for name, value in config_to_dict(plan.diffusion).items() if name != "guidance_scale"}
    return place.stage("diffusion", _base(place) | {"preset": plain(settings)}, work)


def _seeded(run: Run, seed: int) -> Run:
    return replace(run, training=replace(run.training, seed=seed))


def load_judge(folder: Path) -> Classifier:
    """The classifier that a judge's stage left."""
    return Classifier.from_pretrained(folder / "model")


def load_pipeline(model: str, folder: Path, device: str) -> VARPipeline | DiffusionPipeline:
    """The pipeline that a model's stage left."""
    cls = VARPipeline if model == "var" else DiffusionPipeline
    return cls.from_pretrained(folder / "model").to(device)
