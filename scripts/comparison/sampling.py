"""The stages that draw samples of a trained model at every setting, and time it alone on the machine."""

import statistics
import time
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from multiprocessing.pool import Pool
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from comparison.settings import CODE_VERSION, Comparison
from comparison.stages import Stage, StageStore
from comparison.training import load_pipeline
from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.sampling_settings import SamplingSettings as DiffusionSettings
from var.generation import VARPipeline
from var.generation.sampling_settings import SamplingSettings as VARSettings
from var.images import to_uint8
from var.randomness import keyed_seed

BATCH = 100
"""Images of one call, for both models."""

WARM_UP_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """One way to sample a model."""

    sampling: VARSettings | DiffusionSettings
    steps: int  # scales, or network steps
    headline: bool = False

    @property
    def model(self) -> str:
        """Which of the two it is for: "var" or "diffusion"."""
        return "var" if isinstance(self.sampling, VARSettings) else "diffusion"

    @property
    def sampler(self) -> str:
        """What the report calls the way to the image."""
        return "next-scale" if isinstance(self.sampling, VARSettings) else self.sampling.sampler

    @property
    def guidance_scale(self) -> float:
        """One number, for all scales or steps."""
        assert not isinstance(self.sampling.guidance_scale, tuple)
        return self.sampling.guidance_scale


def var_settings(plan: Comparison) -> list[Setting]:
    """The headline setting first, then the sweep over guidance scales."""
    headline = plan.transformer.sampling
    steps = len(plan.tokenizer.vqvae.schedule)
    sweep = (replace(headline, guidance_scale=scale) for scale in plan.var_guidance)
    return [
        Setting(sampling=each, steps=steps, headline=each == headline) for each in dict.fromkeys((headline, *sweep))
    ]


def diffusion_settings(plan: Comparison) -> list[Setting]:
    """The headline setting first, then the sweep over samplers, step counts and guidance scales."""
    headline = plan.diffusion_headline
    return [
        Setting(
            sampling=each,
            steps=each.num_inference_steps or plan.diffusion.num_timesteps,
            headline=each == headline,
        )
        for each in dict.fromkeys((headline, *plan.diffusion_sweep))
    ]


def sample_labels(classes: int, per_class: int) -> Tensor:
    """Labels of the judged samples: all of class 0, then of class 1, and so on."""
    return torch.arange(classes).repeat_interleave(per_class)


def draw(
    pipeline: VARPipeline | DiffusionPipeline, setting: Setting, labels: Tensor, seed: int, number: int = 0
) -> Tensor:
    """Images in [-1, 1] of `labels`; image i depends on (seed, number, i) only, so that all settings share seeds."""
    key = ("comparison", seed) if number == 0 else ("comparison", seed, "set", number)
    call: Any = pipeline  # each is given settings of its own kind
    parts = []
    for start in range(0, len(labels), BATCH):
        chosen = labels[start : start + BATCH]
        seeds = [keyed_seed(*key, start + i) for i in range(len(chosen))]
        out = call(chosen, seeds=seeds, output_type="pt", progress=False, sampling=setting.sampling)
        parts.append(out.images.cpu() * 2 - 1)
    return torch.cat(parts)


def sample_stage(
    store: StageStore, pool: Pool, trained: Stage, settings: list[Setting], plan: Comparison, seed: int, device: str
) -> Stage:
    """uint8 samples of one model at all settings, one file each, drawn by the processes of `pool`.

    Of the headline setting further sets are drawn, with other seeds: files `set1.npy` and so on.
    """
    drawn = [(setting, 0, f"{index}.npy") for index, setting in enumerate(settings)]
    headline = next(setting for setting in settings if setting.headline)
    drawn += [(headline, number, f"set{number}.npy") for number in range(1, plan.generation_seeds)]

    def work(folder: Path) -> dict[str, Any]:
        jobs = [
            (str(trained.folder), setting, plan, (seed, number), device, str(folder / file))
            for setting, number, file in drawn
        ]
        # Longest first, so that no process is left alone with the largest job at the end.
        jobs.sort(key=lambda job: -job[1].steps)
        with tqdm(
            total=sum(network_evaluations(setting) for setting, _, _ in drawn), desc=f"sample {settings[0].model}"
        ) as bar:
            bar.bar_format = "{l_bar}{bar}| {elapsed}<{remaining}"
            for cost in pool.imap_unordered(_sample_job, jobs):
                bar.update(cost)
        return {}

    key = _key(trained, settings, device) | {
        "per_class": plan.per_class,
        "rounding": plan.rounding,
        "sets": plan.generation_seeds,
        "seed": seed,
    }
    return store.run(f"samples-{settings[0].model}", key, work)


def _key(trained: Stage, settings: list[Setting], device: str) -> dict[str, Any]:
    """What every stage that draws depends on."""
    ways = [asdict(setting) for setting in settings]
    return {"code": CODE_VERSION, "model": trained.key, "settings": ways, "device": device}


def load_samples(stage: Stage, index: int) -> Tensor:
    """uint8 NCHW samples of the setting at `index`."""
    return torch.from_numpy(np.load(stage.folder / f"{index}.npy"))


def load_sets(stage: Stage, index: int, count: int) -> list[Tensor]:
    """All sets of the headline setting, which is at `index`: one a generation seed."""
    others = [torch.from_numpy(np.load(stage.folder / f"set{number}.npy")) for number in range(1, count)]
    return [load_samples(stage, index), *others]


def timing_stage(
    store: StageStore, trained: Stage, settings: list[Setting], plan: Comparison, device: str, threads: int
) -> Stage:
    """Seconds for 1000 images at every setting, while nothing else runs here."""

    def work(folder: Path) -> dict[str, Any]:
        pipeline = load_pipeline(settings[0].model, trained.folder, device)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            _warm_up(pipeline, settings[0], plan)
            bar = tqdm(settings, desc=f"time {settings[0].model}")
            seconds = [_seconds_per_1000(pipeline, each, plan) for each in bar]
            flops = [sampling_flops(pipeline, each) for each in settings]
            return {"seconds_per_1000_images": seconds, "flops_per_image": flops}
        finally:
            torch.set_num_threads(before)

    key = _key(trained, settings, device) | {
        "images": plan.timing_images,
        "repeats": plan.timing_repeats,
        "threads": threads,
    }
    return store.run(f"timing-{settings[0].model}", key, work)


def sampling_flops(pipeline: VARPipeline | DiffusionPipeline, setting: Setting) -> int:
    """Operations to draw one image, of matrix products and convolutions; a multiply-add counts as two."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        draw(pipeline, setting, torch.zeros(1, dtype=torch.int64), seed=0)
    return counter.get_total_flops()


def _warm_up(pipeline: VARPipeline | DiffusionPipeline, setting: Setting, plan: Comparison) -> None:
    """Draw for some seconds: after the processes that trained, the first calls are a tenth slower than all others."""
    started = time.perf_counter()
    while time.perf_counter() - started < WARM_UP_SECONDS:
        _draw_timed(pipeline, _shortened(setting), plan)


def _seconds_per_1000(pipeline: VARPipeline | DiffusionPipeline, setting: Setting, plan: Comparison) -> float:
    """Median over repeats, after a call that is not counted."""
    # Two steps of diffusion meet every shape that many meet.
    _draw_timed(pipeline, _shortened(setting), plan)
    seconds = [_draw_timed(pipeline, setting, plan) for _ in range(plan.timing_repeats)]
    return statistics.median(seconds) * 1000 / plan.timing_images


def _shortened(setting: Setting) -> Setting:
    """The same in two network steps, where there are steps to choose."""
    if isinstance(setting.sampling, VARSettings):
        return setting
    return replace(setting, sampling=replace(setting.sampling, num_inference_steps=2))


def _draw_timed(pipeline: VARPipeline | DiffusionPipeline, setting: Setting, plan: Comparison) -> float:
    """Seconds of one call, whose images are on the CPU in the end, so that a device has finished."""
    started = time.perf_counter()
    draw(pipeline, setting, torch.arange(plan.timing_images) % _classes(plan), seed=0)
    return time.perf_counter() - started


def _classes(plan: Comparison) -> int:
    return plan.transformer.transformer.num_classes


def network_evaluations(setting: Setting) -> int:
    """Network evaluations of an image (NFE): guidance takes two a step."""
    return setting.steps * (1 if setting.guidance_scale in (0, 1) else 2)


def _sample_job(job: tuple[str, Setting, Comparison, tuple[int, int], str, str]) -> int:
    folder, setting, plan, (seed, number), device, path = job
    pipeline = _cached_pipeline(setting.model, folder, device)
    images = draw(pipeline, setting, sample_labels(_classes(plan), plan.per_class), seed, number)
    np.save(path, to_uint8(images, plan.rounding).numpy())
    return network_evaluations(setting)


@lru_cache(maxsize=2)
def _cached_pipeline(model: str, folder: str, device: str) -> VARPipeline | DiffusionPipeline:
    return load_pipeline(model, Path(folder), device)
