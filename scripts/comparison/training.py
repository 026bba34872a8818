"""The stages that train: the judges, the tokenizer, the transformer, the diffusion model."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from comparison.costs import training_flops
from comparison.settings import CODE_VERSION, Comparison
from comparison.stages import Stage, StageStore
from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.task import DiffusionTask
from var.data.catalog import open_data
from var.evaluation.features.classifier import Classifier, ClassifierConfig, train_classifier
from var.generation import VARPipeline
from var.recipes.transformer.task import TransformerTask
from var.recipes.transformer.token_cache import TokenCache
from var.recipes.vqvae.task import VQVAETask
from var.training import TrainingResult, train
from var.vqvae import VQVAE


def _base(plan: Comparison, seed: int, device: str) -> dict[str, Any]:
    return {"code": CODE_VERSION, "torch": torch.__version__, "data": plan.data, "seed": seed, "device": device}


def _kept(model: torch.nn.Module, result: TrainingResult) -> dict[str, Any]:
    return {
        "train_seconds": result.seconds,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "history": result.history,
    }


def judge_stage(store: StageStore, plan: Comparison, config: ClassifierConfig, device: str, line: int) -> Stage:
    """A trained classifier. Its seed is fixed: the judge must not change with the models' seed."""

    def work(folder: Path) -> dict[str, Any]:
        data = open_data(plan.data, split="train")
        judge = train_classifier(data, config=config, steps=plan.judge_steps, seed=0, device=device, bar_line=line)
        judge.save_pretrained(folder / "model")
        return {
            "digest": judge.digest,
            "test_accuracy": judge.accuracy(open_data(plan.data, split="test")),
        }

    settings = _base(plan, 0, device) | {"config": asdict(config), "steps": plan.judge_steps}
    return store.run(f"judge-{config.name}", settings, work)


def tokenizer_stage(store: StageStore, plan: Comparison, seed: int, device: str, line: int) -> Stage:
    """A trained tokenizer."""
    run = plan.tokenizer

    def work(folder: Path) -> dict[str, Any]:
        model = run.model(seed=seed)
        data = open_data(plan.data, split="train")
        result = train(
            VQVAETask(model),
            data,
            replace(run.training, seed=seed),
            log=folder / "training.jsonl",
            description="tokenizer",
            device=device,
            bar_line=line,
        )
        model.save_pretrained(folder / "model")
        task = VQVAETask(run.model(seed=seed).to(device))
        return _kept(model, result) | {"train_flops": training_flops(task, data, run.training)}

    settings = _base(plan, seed, device) | {
        "config": asdict(run.vqvae),
        "training": asdict(run.training),
    }
    return store.run("tokenizer", settings, work)


def var_stage(store: StageStore, plan: Comparison, tokenizer: Stage, seed: int, device: str, line: int) -> Stage:
    """A trained VAR pipeline: the transformer on the tokens of the stage `tokenizer`."""
    run = plan.transformer

    def work(folder: Path) -> dict[str, Any]:
        data = open_data(plan.data, split="train")
        vqvae = VQVAE.from_pretrained(tokenizer.folder / "model", device=device)
        started = time.perf_counter()
        cache = TokenCache.of(
            data,
            vqvae,
            variants=run.tokens.variants,
            temperature=run.tokens.temperature,
            seed=seed,
            bar_line=line,
        )
        encode_seconds = time.perf_counter() - started
        model = run.model(seed=seed)
        result = train(
            TransformerTask(model, vqvae, label_drop=run.label_drop, cache=cache),
            data,
            replace(run.training, seed=seed),
            log=folder / "training.jsonl",
            description="transformer",
            device=device,
            bar_line=line,
        )
        VARPipeline(vqvae, model).save_pretrained(folder / "model")
        record = _kept(model, result)
        task = TransformerTask(run.model(seed=seed).to(device), vqvae, label_drop=run.label_drop, cache=cache)
        return record | {
            "train_seconds": record["train_seconds"] + encode_seconds,
            "train_flops": training_flops(task, data, run.training),
        }

    settings = _base(plan, seed, device) | {
        "tokenizer": tokenizer.key,
        "config": asdict(run.transformer),
        "training": asdict(run.training),
        "label_drop": run.label_drop,
        "tokens": [run.tokens.variants, run.tokens.temperature],
    }
    return store.run("var", settings, work)


def diffusion_stage(store: StageStore, plan: Comparison, seed: int, device: str, line: int) -> Stage:
    """A trained diffusion pipeline."""
    run = plan.diffusion

    def work(folder: Path) -> dict[str, Any]:
        data = open_data(plan.data, split="train")
        pipeline = run.pipeline(data.classes, seed=seed)
        result = train(
            DiffusionTask(pipeline, label_drop=run.label_drop),
            data,
            replace(run.training, seed=seed),
            log=folder / "training.jsonl",
            description="diffusion",
            device=device,
            bar_line=line,
        )
        pipeline.save_pretrained(folder / "model")
        task = DiffusionTask(run.pipeline(data.classes, seed=seed).to(device), label_drop=run.label_drop)
        return _kept(pipeline.unet, result) | {"train_flops": training_flops(task, data, run.training)}

    settings = {k: v for k, v in asdict(run).items() if k != "guidance_scale"}  # which is no matter of training
    return store.run("diffusion", _base(plan, seed, device) | {"preset": json.loads(json.dumps(settings))}, work)


def train_branch(job: tuple[str, Path, Comparison, int, str, int]) -> dict[str, Stage]:
    """The stages that one of the two processes trains; both judges go with the diffusion model."""
    branch, root, plan, seed, device, line = job
    store = StageStore(root)
    if branch == "var":
        tokenizer = tokenizer_stage(store, plan, seed, device, line)
        return {"tokenizer": tokenizer, "var": var_stage(store, plan, tokenizer, seed, device, line)}
    return {
        "judge": judge_stage(store, plan, plan.judge, device, line),
        "second": judge_stage(store, plan, plan.second_judge, device, line),
        "diffusion": diffusion_stage(store, plan, seed, device, line),
    }


def load_judge(stage: Stage) -> Classifier:
    """The classifier of a judge stage."""
    return Classifier.from_pretrained(stage.folder / "model")


def load_pipeline(model: str, folder: Path, device: str) -> VARPipeline | DiffusionPipeline:
    """The pipeline that a model's stage left."""
    cls = VARPipeline if model == "var" else DiffusionPipeline
    return cls.from_pretrained(folder / "model").to(device)
