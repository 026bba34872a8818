"""The stages that draw samples of a trained model at every setting, and time it alone on the machine."""

import statistics
import time
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode
from tqdm.auto import tqdm

from comparison.schedule import Job, Place
from comparison.settings import CODE_VERSION, Comparison
from comparison.stages import Stage, settings_key
from comparison.training import load_pipeline
from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.sampling_settings import SamplingSettings as DiffusionSettings
from var.foreign.archives import npz_array, write_npz
from var.generation import VARPipeline
from var.generation.sampling_settings import SamplingSettings as VARSettings
from var.images import to_uint8
from var.randomness import keyed_seed

BATCH = 100
"""Images of one call, for both models."""

SAMPLES = "images.npz"

WARM_UP_SECONDS = 2.0
LONG_SECONDS = 3.0
"""After so much time a setting is not timed once more."""


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
    def title(self) -> str:
        """What bars call it; settings may share it."""
        return f"{self.model} {self.sampler}-{self.steps} g={self.guidance_scale:g}"

    @property
    def key(self) -> str:
        """What the names of its stages end in; no two settings share it."""
        return f"{self.model} {settings_key(self.title, asdict(self.sampling))}"

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
    pipeline: VARPipeline | DiffusionPipeline,
    setting: Setting,
    labels: Tensor,
    seed: int,
    number: int = 0,
    *,
    line: int | None = None,
) -> Tensor:
    """Images in [-1, 1] of `labels`; image i depends on (seed, number, i) only, so that all settings share seeds.

    With a `line` of the terminal, a bar is shown there.
    """
    key = ("comparison", seed) if number == 0 else ("comparison", seed, "set", number)
    call: Any = pipeline  # each is given settings of its own kind
    parts = []
    starts = range(0, len(labels), BATCH)
    for start in tqdm(starts, desc=setting.title, disable=line is None, position=line, leave=False):
        chosen = labels[start : start + BATCH]
        seeds = [keyed_seed(*key, start + i) for i in range(len(chosen))]
        out = call(chosen, seeds=seeds, output_type="pt", progress=False, sampling=setting.sampling)
        parts.append(out.images.cpu() * 2 - 1)
    return torch.cat(parts)


def sampling_jobs(settings: list[Setting], sets: int) -> list[Job]:
    """One job per setting, and one for each further set of the headline setting; the longest first."""
    jobs = [(setting, 0) for setting in settings]
    jobs += [(setting, number) for setting in settings if setting.headline for number in range(1, sets)]
    jobs.sort(key=lambda job: -network_evaluations(job[0]))
    return [Job(samples_name(*job), sample_stage, (job[0].model,), job) for job in jobs]


def samples_name(setting: Setting, number: int = 0) -> str:
    """The job that draws set `number` (from 0) at a setting."""
    return f"samples of {setting.key} {number}"


def sample_stage(place: Place, trained: Stage, setting: Setting, number: int, *, line: int) -> Stage:
    """uint8 samples of a trained model at one setting; other sets have other seeds."""
    plan = place.plan

    def work(folder: Path) -> dict[str, Any]:
        pipeline = _cached_pipeline(setting.model, str(trained.folder), place.device)
        labels = sample_labels(classes(plan), plan.per_class)
        images = draw(pipeline, setting, labels, place.seed, number, line=line)
        write_npz(folder / SAMPLES, {"images": to_uint8(images, plan.rounding).numpy()})
        return {}

    drawn = {"per_class": plan.per_class, "rounding": plan.rounding, "set": number, "seed": place.seed, "file": SAMPLES}
    return place.stage(f"samples-{setting.model}", _key(trained, setting, place.device) | drawn, work)


def _key(trained: Stage, setting: Setting, device: str) -> dict[str, Any]:
    """What every stage that draws depends on."""
    way = {"sampling": asdict(setting.sampling), "steps": setting.steps}
    return {"code": CODE_VERSION, "model": trained.key, "setting": way, "device": device}


def load_samples(stage: Stage) -> Tensor:
    """uint8 NCHW samples."""
    return torch.from_numpy(npz_array(stage.folder / SAMPLES, "images"))


def timing_stage(place: Place, trained: Stage, settings: list[Setting], threads: int) -> Stage:
    """Seconds for 1000 images of a model at each of its settings, while nothing else runs here."""

    def work(folder: Path) -> dict[str, Any]:
        pipeline = load_pipeline(settings[0].model, trained.folder, place.device)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            _warm_up(pipeline, settings[0], place.plan)
            bar = tqdm(settings, desc=f"time {settings[0].model}")
            seconds = [_seconds_per_1000(pipeline, each, place.plan) for each in bar]
            flops = [sampling_flops(pipeline, each) for each in settings]
            return {"seconds_per_1000_images": seconds, "flops_per_image": flops}
        finally:
            torch.set_num_threads(before)

    keys = [_key(trained, setting, place.device) for setting in settings]
    measured = {"images": place.plan.timing_images, "repeats": place.plan.timing_repeats, "threads": threads}
    return place.stage(f"timing-{settings[0].model}", {"settings": keys, **measured}, work)


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
    """Median over repeats, after a call that is not counted; what takes long is repeated less."""
    # Two steps of diffusion meet every shape that many meet.
    _draw_timed(pipeline, _shortened(setting), plan)
    seconds: list[float] = []
    while len(seconds) < plan.timing_repeats and sum(seconds) < LONG_SECONDS:
        seconds.append(_draw_timed(pipeline, setting, plan))
    return statistics.median(seconds) * 1000 / plan.timing_images


def _shortened(setting: Setting) -> Setting:
    """The same in two network steps, where there are steps to choose."""
    if isinstance(setting.sampling, VARSettings):
        return setting
    return replace(setting, sampling=replace(setting.sampling, num_inference_steps=2))


def _draw_timed(pipeline: VARPipeline | DiffusionPipeline, setting: Setting, plan: Comparison) -> float:
    """Seconds of one call, whose images are on the CPU in the end, so that a device has finished."""
    started = time.perf_counter()
    draw(pipeline, setting, torch.arange(plan.timing_images) % classes(plan), seed=0)
    return time.perf_counter() - started


def classes(plan: Comparison) -> int:
    """Number of classes of the data."""
    return plan.transformer.transformer.num_classes


def network_evaluations(setting: Setting) -> int:
    """Network evaluations of an image (NFE): guidance takes two a step."""
    return setting.steps * (1 if setting.guidance_scale in (0, 1) else 2)


@lru_cache(maxsize=2)
def _cached_pipeline(model: str, folder: str, device: str) -> VARPipeline | DiffusionPipeline:
    return load_pipeline(model, Path(folder), device)
