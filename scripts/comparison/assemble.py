"""The report: rows from scores and times, pictures from samples, and all files of the output folder."""

import platform
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from comparison.report.columns import COLORS
from comparison.report.figures import class_grid, code_usage_chart, loss_curve, reconstruction_pairs, stage_strip
from comparison.report.page import page
from comparison.report.picture_sections import Pictures
from comparison.report.results import BY_SCALE, Report
from comparison.report.tradeoff import tradeoff_plot
from comparison.sampling import Setting, network_evaluations, sample_labels
from comparison.scoring import all_images
from comparison.settings import Comparison
from comparison.stages import Stage
from diffusion_baseline.pipeline import DiffusionPipeline
from var.data.catalog import open_data
from var.errors import UserError
from var.evaluation import judging
from var.files import atomic_folder, write_text
from var.foreign.archives import write_npz
from var.foreign.regular import read_text
from var.generation import VARPipeline
from var.images import from_uint8, image_grid, save_png

STRIP: dict[str, Any] = {"class_labels": [3, 8], "seeds": [7, 8], "output_type": "pt", "progress": False}
"""The call that both strips of pictures show."""

STRIP_COLUMNS = 10


def result_row(
    setting: Setting, scores: dict[str, Any], sampling: dict[str, float], training: dict[str, float], seed: int
) -> dict[str, Any]:
    """One entry of `results` in report.json."""
    row = {
        "model": setting.model,
        "sampler": setting.sampler,
        "steps": setting.steps,
        "guidance_scale": setting.guidance_scale,
        **scores,
        "nfe": network_evaluations(setting),
        **sampling,
        **training,
        "seed": seed,
    }
    return row | ({"headline": True} if setting.headline else {})


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


def write_samples(output: Path, plan: Comparison, samples: dict[str, Tensor]) -> None:
    """`samples/*.npz` (arr_0 uint8 NHWC, arr_1 labels) and grids by class as `samples/*.png`."""
    data = open_data(plan.data, split="all")
    labels = sample_labels(len(data.classes), plan.per_class)
    for model, images in samples.items():
        arrays = {"arr_0": images.permute(0, 2, 3, 1).contiguous().numpy(), "arr_1": labels.numpy()}
        write_npz(output / "samples" / f"{model}.npz", arrays)
        _save_grid(from_uint8(images), labels, output / "samples" / f"{model}.png", model)
    _save_grid(all_images(data), data.labels, output / "samples" / "real.png", "real")


def _save_grid(images: Tensor, labels: Tensor, path: Path, model: str) -> None:
    rows = [images[labels == label][:STRIP_COLUMNS] for label in labels.unique()]
    grid = image_grid(torch.cat(rows), STRIP_COLUMNS, magnify=4, padding=4)
    save_png(grid, path, {"images": model, "layout": "one row per class"})


def keep_pipelines(output: Path, trained: dict[str, Stage]) -> None:
    """Both trained pipelines as `models/var` and `models/diffusion`, for `from_pretrained`."""
    for model, stage in trained.items():
        target = output / "models" / model
        with atomic_folder(target) as unfinished:
            shutil.copytree(stage.folder / "model", unfinished, dirs_exist_ok=True)


def write_page(
    output: Path,
    report: Report,
    plan: Comparison,
    pipelines: tuple[VARPipeline, DiffusionPipeline],
    samples: dict[str, Tensor],
    histories: dict[str, list[dict[str, float]]],
) -> None:
    """`report.html`."""
    data = open_data(plan.data, split="all")
    test = open_data(plan.data, split="test")
    var, diffusion = pipelines
    columns = min(10, plan.per_class)
    labels = sample_labels(len(data.classes), plan.per_class)

    def grid(images: Tensor, of: Tensor) -> str:
        return class_grid(images, of, data.classes, columns=columns)

    with torch.inference_mode():
        originals = all_images(test)[:16]
        decoded = var.vqvae.reconstruct(originals.to(var.device)).cpu()
    colors = {"tokenizer": COLORS["var"], "transformer": COLORS["var"], "diffusion": COLORS["diffusion"]}
    pictures = Pictures(
        real=grid(all_images(data), data.labels),
        var=grid(from_uint8(samples["var"]), labels),
        diffusion=grid(from_uint8(samples["diffusion"]), labels),
        scales=_scale_strip(var, plan),
        denoising=_denoising_strip(diffusion, plan),
        reconstructions=reconstruction_pairs(originals, decoded),
        code_usage=code_usage_chart(*(report.tokenizer[key] for key in BY_SCALE)),
        tradeoff=tradeoff_plot(report),
        loss_curves={name: loss_curve(rows, color=colors[name]) for name, rows in histories.items()},
    )
    write_text(output / "report.html", page(report, pictures))


def _scale_strip(pipeline: VARPipeline, plan: Comparison) -> str:
    out = pipeline(sampling=plan.transformer.sampling, return_intermediates=True, **STRIP)
    assert out.intermediates is not None
    names = [f"{height}x{width}" for height, width in plan.tokenizer.vqvae.schedule.shapes]
    return stage_strip([stage.cpu() * 2 - 1 for stage in out.intermediates], names)


def _denoising_strip(pipeline: DiffusionPipeline, plan: Comparison) -> str:
    states: list[tuple[int, Tensor]] = []

    def keep(_index: int, timestep: int, x: Tensor) -> None:
        states.append((timestep, x.cpu().clamp(-1, 1)))

    pipeline(sampling=plan.diffusion_headline, callback_on_step_end=keep, **STRIP)
    chosen = np.unique(np.linspace(0, len(states) - 1, STRIP_COLUMNS).round().astype(int))
    return stage_strip([states[i][1] for i in chosen], [f"t={states[i][0]}" for i in chosen])
