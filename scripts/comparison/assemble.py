"""The report: rows from scores and times, pictures from samples, and all files of the output folder."""

import platform
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from torch import Tensor

from comparison.contenders import Setting
from comparison.data import real_images
from comparison.families import FAMILIES
from comparison.report.columns import MODELS
from comparison.report.edits import MOST, edits_figure, right_half
from comparison.report.figures import class_grid, loss_curve
from comparison.report.page import page
from comparison.report.picture_sections import Pictures
from comparison.report.processes import under_a_slider
from comparison.report.results import COUNTS, SCORES, Report
from comparison.report.tradeoff import tradeoff_plot
from comparison.sampling import asked, asked_like, sample_labels
from comparison.settings import Comparison
from var.errors import UserError
from var.evaluation import judging
from var.files import write_text
from var.foreign.archives import write_npz
from var.foreign.regular import read_text
from var.images import from_uint8, image_grid, save_png

STRIP: dict[str, Any] = {"seeds": [7, 8], "output_type": "pt", "progress": False}
"""The call that all strips of pictures show, of two images."""

COLUMNS = 10


def result_row(
    setting: Setting, scores: dict[str, Any], sampling: dict[str, float], training: dict[str, float], seed: int
) -> dict[str, Any]:
    """One entry of `results` in report.json."""
    row = {
        "model": setting.model,
        "sampler": setting.sampler,
        "steps": setting.steps,
        "guidance_scale": setting.guidance_scale,
        **FAMILIES[setting.model].told(setting.sampling),
        **dict.fromkeys(SCORES),
        **scores,
        "nfe": setting.evaluations,
        **sampling,
        **training,
        "seed": seed,
    }
    return row | ({"headline": True} if setting.headline else {})


def over_seeds(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of the same setting of several training seeds: means, and "spread", their standard deviations."""
    first = rows[0]
    if len(rows) == 1:
        return first
    told = (*COUNTS, "guidance_scale", "headline", "nfe", "timed_images", "train_processes")
    measured = [
        key
        for key, value in first.items()
        if key not in told and isinstance(value, int | float) and all(row.get(key) is not None for row in rows)
    ]
    means = {key: fmean(row[key] for row in rows) for key in measured}
    return {**first, **means, "spread": {key: stdev(row[key] for row in rows) for key in measured}}


def environment(threads: int, device: str, seconds_by_stage: dict[str, float]) -> dict[str, Any]:
    """Machine, versions and times that the numbers depend on."""
    return judging.environment("accelerate", "scikit-learn") | {
        "cpu": cpu_name(),
        "cores": torch.multiprocessing.cpu_count(),
        "device": device if device == "cpu" else torch.cuda.get_device_name(),
        "threads": threads,
        "seconds_by_stage": seconds_by_stage,
    }


def cpu_name() -> str:
    """The processor's model name."""
    try:
        lines = read_text("/proc/cpuinfo").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (UserError, StopIteration):
        return platform.processor() or platform.machine()


def write_samples(output: Path, plan: Comparison, samples: dict[str, Tensor], pipelines: dict[str, Any]) -> None:
    """`samples/*.npz` (arr_0 uint8 NHWC, arr_1 labels, the prompts of words) and grids by class as `samples/*.png`."""
    labels = sample_labels(plan)
    for model, images in samples.items():
        arrays = {"arr_0": images.permute(0, 2, 3, 1).contiguous().numpy(), "arr_1": labels.numpy()}
        prompts = asked(plan, plan.data.reference, pipelines[model], model).prompts
        arrays |= {} if prompts is None else {"prompts": np.array(prompts)}
        write_npz(output / "samples" / f"{model}.npz", arrays)
        _save_grid(images, labels, output / "samples" / f"{model}.png", model)
    real = real_images(plan.data, plan.data.reference)
    _save_grid(real.images, real.labels, output / "samples" / "real.png", "real")


def _save_grid(images: Tensor, labels: Tensor, path: Path, model: str) -> None:
    columns = _columns(labels)
    rows = [images[labels == label][:columns] for label in labels.unique()]
    grid = image_grid(from_uint8(torch.cat(rows)), columns, magnify=_magnification(images), padding=4)
    save_png(grid, path, {"images": model, "layout": "one row per class"})


def _columns(labels: Tensor) -> int:
    """Columns of a grid that every class can fill."""
    return min(COLUMNS, int(torch.bincount(labels)[labels.unique()].min()))


def _magnification(images: Tensor) -> int:
    return max(1, min(4, 64 // images.shape[-1]))


def keep_pipelines(output: Path, pipelines: dict[str, Any]) -> None:
    """All trained pipelines as `models/NAME`, for `from_pretrained`."""
    for model, pipeline in pipelines.items():
        pipeline.save_pretrained(output / "models" / model)


def write_page(
    output: Path,
    report: Report,
    plan: Comparison,
    pipelines: dict[str, Any],
    samples: dict[str, Tensor],
    histories: dict[str, tuple[str, list[dict[str, float]]]],
) -> None:
    """`report.html`."""
    classes, labels = plan.data.part("train").classes, sample_labels(plan)
    real, test = real_images(plan.data, plan.data.reference), real_images(plan.data, "test")

    def grid(images: Tensor, of: Tensor) -> str:
        return class_grid(from_uint8(images), of, classes, columns=min(_columns(labels), _columns(real.labels)))

    rows = torch.tensor([len(labels) * 3 // 10, len(labels) * 8 // 10])
    details, processes = [], []
    for model, pipeline in pipelines.items():
        contender = FAMILIES[model]
        wanted = asked(plan, plan.data.reference, pipeline, model).rows(rows)
        if process := contender.process(pipeline, plan.models[model].headline, {**wanted.call(), **STRIP}):
            processes.append(process)
        with torch.inference_mode():
            details += contender.details(pipeline, from_uint8(test.images[:16]), report)
    chosen = torch.tensor([int((test.labels == label).nonzero()[0]) for label in test.labels.unique().tolist()[:MOST]])
    halves = edited(plan, pipelines, test.images[chosen], test.places[chosen])
    pictures = Pictures(
        real=grid(real.images, real.labels),
        samples={model: grid(images, labels) for model, images in samples.items()},
        processes=[*under_a_slider(processes), *(process.strip() for process in processes)],
        edits=edits_figure(from_uint8(test.images[chosen]), halves),
        details=details,
        tradeoff=tradeoff_plot(report),
        loss_curves={
            stage: loss_curve(rows, color=FAMILIES[model].color) for stage, (model, rows) in histories.items()
        },
    )
    write_text(output / "report.html", page(report, pictures))


def edited(plan: Comparison, pipelines: dict[str, Any], images: Tensor, places: Tensor) -> dict[str, Tensor]:
    """The right half of uint8 test images, at these `places`, redrawn by each model that edits; in [-1, 1]."""
    found: dict[str, Tensor] = {}
    for model, pipeline in pipelines.items():
        sampling = plan.models[model].headline
        if not FAMILIES[model].edits(pipeline, sampling):
            continue
        call = asked_like(plan, "test", pipeline, model, places).call() | {"output_type": "pt", "progress": False}
        out = pipeline.edit(images, right_half(images), **call, seeds=range(len(images)), sampling=sampling)
        found[MODELS[model]] = out.images.cpu() * 2 - 1
    return found
