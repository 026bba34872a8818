"""One rung of the ladder: a trained transformer, its size, what its training cost, and how well it predicts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from var import VAR, VARPipeline
from var.cli import main
from var.data import open_data
from var.errors import UserError
from var.foreign.logs import read_log
from var.randomness import keyed_generator
from var.recipes.transformer.job import transformer_cost
from var.recipes.transformer.settings import TransformerRun
from var.recipes.transformer.task import TransformerTask, logged_nats
from var.runs.evaluation import LossJudge
from var.runs.folder import RunFolder
from var.runs.held_out import as_shown, held_out
from var.runs.overrides import FACTS, read_settings, settings_from_dict


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A finished run in numbers."""

    run: str
    origin: tuple[str, str]  # digests of the tokenizer and of the data: of others, nats per token mean other things
    depth: int
    width: int
    parameters: int  # of the matrices of the blocks, see `block_parameters`
    all_parameters: int
    flops: int  # of training: forward and backward passes of the transformer
    loss: float  # nats per token, held-out images
    error: float  # share of their tokens whose likeliest guess is wrong
    curve: list[tuple[float, float, float]]  # (FLOPs, loss, error) along training, means of the log's windows


def block_parameters(model: VAR) -> int:
    """Weights of the matrices in the blocks: attention 4 w^2, MLP 8 w^2 and AdaLN 6 w^2, 18 w^2 per block.

    At the official width of 64 per depth d these are 73,728 d^3 (arXiv 2404.02905, Section 4.2). Biases, the scales of
    the attention, embeddings, the last AdaLN and the head are not counted.
    """
    return sum(module.weight.numel() for module in model.blocks.modules() if isinstance(module, nn.Linear))


def train(data: str, folder: Path, depth: int, width: int, options: list[str]) -> None:
    """Train a rung, or go on with it, by `var train transformer`.

    Raises `UserError` where that was refused or stopped; it said why.
    """
    config = {"depth": depth, "width": width, "heads": depth, "shared_adaln": "false"}
    words = [part for name, value in config.items() for part in ("--set", f"transformer.{name}={value}")]
    code = main(
        ["train", "transformer", data, "--output", str(folder), *words, "--set", "evaluation.every=0", *options]
    )
    if code == 2 and not (folder / "run.yaml").exists():
        raise UserError(f"depth {depth} must be a run that can begin, but was refused as said above; correct that")
    if code or not (folder / "finished.json").exists():
        raise UserError(f"depth {depth} must be trained to its end, but ended before; run the same command to go on")


def measured(folder: Path) -> Rung:
    """The rung of a finished run's folder, measured on the held-out images of its data (else on its own)."""
    run = RunFolder(folder)
    if not run.finished.exists():
        raise UserError(f"{folder} must be the folder of a finished run, got none; train it to its end")
    values = read_settings(run.settings)
    facts = values.pop(FACTS, {})
    if facts.get("kind") != "transformer":
        raise UserError(f"{folder} must hold a run of a transformer, got another; name such a run")
    settings = settings_from_dict(TransformerRun, values, str(run.settings))
    pipeline = VARPipeline.from_pretrained(folder)
    model = pipeline.transformer
    loss, error = _judged(pipeline, settings)
    cost = transformer_cost(model.config, looked_at=settings.tokens.kept)
    step = cost.flops * settings.training.batch_size
    lengths = model.scales.lengths
    rows: list[dict[str, Any]] = [row for row in read_log(run.log) if "loss" in row and "accuracy" in row]
    return Rung(
        run=str(folder),
        origin=(str(facts.get("tokenizer")), str(facts.get("data", {}).get("fingerprint"))),
        depth=model.config.depth,
        width=model.config.width,
        parameters=block_parameters(model),
        all_parameters=sum(weight.numel() for weight in model.parameters()),
        flops=step * settings.training.steps,
        loss=loss,
        error=error,
        curve=[(step * row["step"], logged_nats(row, lengths), 1 - row["accuracy"]) for row in rows],
    )


@torch.no_grad()
def _judged(pipeline: VARPipeline, settings: TransformerRun) -> tuple[float, float]:
    """Loss and error on held-out images, every one with its label, its text or both."""
    config, source = pipeline.vqvae.config, settings.data.source
    captions = bool(settings.data.text)
    data = open_data(source, size=config.image_size, channels=config.in_channels, captions=captions)
    judged = as_shown(held_out(source, data, "error", captions=captions), settings.data, progress=False)
    judge = LossJudge.of(judged, settings.evaluation)
    task = TransformerTask(pipeline.transformer.eval(), pipeline.vqvae, label_drop=0.0)
    total = {"loss": 0.0, "accuracy": 0.0}
    for number, batch in enumerate(judge.batches):
        loss, numbers = task.loss(task.model, batch, keyed_generator("evaluation", number))
        for name, value in {"loss": loss, "accuracy": numbers["accuracy"]}.items():
            total[name] += float(value) * len(batch.indices)
    images = sum(len(batch.indices) for batch in judge.batches)
    return total["loss"] / images, 1 - total["accuracy"] / images
