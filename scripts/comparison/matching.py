"""Equal training: as many operations for every model as for the first, whatever the seconds of this machine."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from comparison.contenders import shortened
from comparison.data import Chosen
from comparison.families import FAMILIES
from comparison.settings import Comparison
from comparison.training import counted, seeded


def equal_flops(plan: Comparison) -> Comparison:
    """The same comparison, with the steps of each model's last stage that make it cost as much as the first model.

    Operations do not depend on weights, so that models are built for counting only, and a batch of images will do.
    """
    first, *others = plan.models
    wanted, models = sum(_cost(plan, first).values()), dict(plan.models)
    for model in others:
        spent, runs = _cost(plan, model), plan.models[model].runs
        *_, last = spent
        share = (wanted - sum(spent.values()) + spent[last]) / spent[last]
        steps = max(1, round(runs[last].training.steps * share))
        models[model] = replace(plan.models[model], runs={**runs, last: shortened(runs[last], steps)})
    return replace(plan, models=models, equal="training FLOPs")


def _cost(plan: Comparison, model: str) -> dict[str, int]:
    """Operations of every stage's training, each counted after the untrained models of those before it."""
    with TemporaryDirectory() as folder:
        before: dict[str, Path] = {}
        costs: dict[str, int] = {}
        for stage, run in plan.models[model].runs.items():
            costs[stage] = _stage_cost(plan, model, stage, run, before, Path(folder) / stage)
            before[stage] = Path(folder) / stage
        return costs


def _stage_cost(plan: Comparison, model: str, stage: str, run: Any, before: dict[str, Path], folder: Path) -> int:
    data = plan.data.part("train")
    some = Chosen(data, torch.arange(min(run.training.batch_size, len(data))))
    # What is done once before a training is cut short, and not counted.
    job = FAMILIES[model].job(stage, shortened(seeded(run, plan.data.source, 0), 1), some, before)
    return counted(job, folder, "cpu", training=run.training, save=True)["train_flops"]
