"""The diffusion baseline as a contender: a U-Net, and several ways from noise to an image."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from comparison.contenders.contender import Contender, ModelPlan, Row, encoder_of, given_by
from comparison.report.processes import Process
from diffusion_baseline.editing import paints
from diffusion_baseline.job import DiffusionJob
from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.presets import PRESETS, diffusion_run
from diffusion_baseline.samplers import SAMPLERS, find_sampler
from diffusion_baseline.sampling_settings import SamplingSettings
from diffusion_baseline.schedules import named_schedule
from diffusion_baseline.settings import DiffusionRun
from var.configs import config_to_dict
from var.data.base import ImageData
from var.images import Signed
from var.runs.job import Job

STEPS = 50  # of the headline
GUIDANCE = (1.0, 1.5, 2.0, 3.0, 4.0)
FEWER = (5, 10, 20)
UNGUIDED = ("digits",)
"""Presets whose fewer steps go without guidance, which doubles the time and gains little there."""

SOLVED = (("expab", 5), ("expab", 8), ("unipc", 8), ("dpmpp", 10), ("heun", 5))
"""Samplers of higher order, with the few steps that they are made for."""


class DiffusionContender(Contender):
    """DDPM with classifier-free guidance; a subclass may change its run, and the samplers that are tried."""

    key = "diffusion"
    title = "Diffusion"
    word = "diffusion"
    color = "orange"
    pipeline = DiffusionPipeline
    run = DiffusionRun
    network = "unet"
    samplers = dict.fromkeys(SAMPLERS, Contender.other_mark) | {"ddim": "s", "ddpm": "^", "heun": "v", "euler": "<"}
    sampler_titles: ClassVar[Mapping[str, str]] = {
        "dpmpp": "DPM++",
        "euler": "Euler",
        "expab": "ExpAB",
        "heun": "Heun",
        "unipc": "UniPC",
    }
    alike = ("sampler", "guidance_scale", "eta")
    order = "steps"
    density = "bound"
    cannot = "cannot draw in one step, and a step of its network costs the more, the more pixels there are"
    prefix: ClassVar[str] = ""  # of what rows are called
    changes: ClassVar[Mapping[str, Any]] = {}  # of the preset's run
    network_changes: ClassVar[Mapping[str, Any]] = {}  # of its U-Net
    methods: ClassVar[Mapping[str, str]] = {"bound": "bound", "by ODE": "ode"}  # kind of likelihood -> who tells it
    first: ClassVar[tuple[str, int]] = ("ddim", STEPS)  # sampler and steps of the headline
    fewer: ClassVar[tuple[int, ...]] = FEWER  # steps of the same sampler
    solved: ClassVar[tuple[tuple[str, int], ...]] = SOLVED  # other samplers, unguided and guided

    def presets(self) -> Collection[str]:
        """Those of pixels."""
        return [name for name, run in PRESETS.items() if not run.latent]

    def shows_captions(self, preset: str) -> bool:
        """As its run says."""
        return bool(diffusion_run(preset).data.text)

    def preset_shape(self, preset: str) -> tuple[int, int, int]:
        """Of the U-Net."""
        config = diffusion_run(preset).unet
        return config.image_channels, *config.size

    def plan(self, preset: str, data: ImageData) -> ModelPlan:
        """The U-Net takes channels and size of the data."""
        run = diffusion_run(preset)
        channels, *size = data.shape
        side = run.unet.image_size if run.unet.size == tuple(size) else (size[0], size[1])
        given = {"image_channels": channels, "image_size": side, **given_by(data, run.data), **self.network_changes}
        run = replace(run, **self.changes, unet=replace(run.unet, **given))
        headline = self._headline(run.sampling, run.num_timesteps)
        sweep = self.around(headline)
        if preset in UNGUIDED:
            sweep = tuple(each for each in sweep if each.guidance_scale == 1 or each.sampler != headline.sampler)
        return ModelPlan(
            runs={"diffusion": run},
            steps=run.num_timesteps,
            walk=walk_of(config_to_dict(run)),
            headline=headline,
            sweep=sweep,
            grid=_grid(headline),
        )

    def _headline(self, sampling: SamplingSettings, timesteps: int) -> SamplingSettings:
        sampler, steps = self.first
        return replace(sampling, sampler=sampler, num_inference_steps=min(steps, timesteps))

    def plan_of(self, pipeline: DiffusionPipeline, run: Any) -> ModelPlan:
        """The guidance of its run, or the pipeline's own."""
        most = pipeline.schedule.num_timesteps
        headline = self._headline(run.sampling if run else pipeline.sampling or SamplingSettings(), most)
        how = {"headline": headline, "sweep": self.around(headline), "grid": _grid(headline)}
        return ModelPlan(steps=most, walk=walk_of(pipeline.settings()), **how)

    def job(self, stage: str, run: Any, data: ImageData, before: Mapping[str, Path]) -> Job[Any]:
        """The one stage."""
        return DiffusionJob(settings=run, data=data, encoder=encoder_of(run.data.text))

    def image_shape(self, pipeline: DiffusionPipeline) -> tuple[int, int, int]:
        """Of the pipeline."""
        return pipeline.image_shape

    def sampler(self, sampling: SamplingSettings) -> str:
        """By its own name."""
        return sampling.sampler

    def steps(self, sampling: SamplingSettings, plan: ModelPlan) -> int:
        """As the call says, else the sampler."""
        return sampling.steps(plan.steps)

    def around(self, sampling: SamplingSettings) -> tuple[SamplingSettings, ...]:
        """Fewer steps, and other samplers, with guidance and without."""
        most = sampling.num_inference_steps or STEPS
        ways = [(sampling.sampler, steps) for steps in self.fewer if steps < most] + [*self.solved]
        guided = [replace(sampling, sampler=sampler, num_inference_steps=steps) for sampler, steps in ways]
        return tuple(dict.fromkeys([*guided, *(replace(each, guidance_scale=1.0) for each in guided)]))

    def evaluations(self, sampling: SamplingSettings, plan: ModelPlan) -> int:
        """By the noise at each timestep."""
        return sampling.evaluations(named_schedule(**plan.walk).noise)

    def of_steps(self, sampling: SamplingSettings, steps: int) -> SamplingSettings:
        """All steps are alike."""
        return replace(sampling, num_inference_steps=steps)

    def told(self, sampling: SamplingSettings) -> dict[str, Any]:
        """The spacing of steps."""
        return {} if sampling.spacing == SamplingSettings().spacing else {"spacing": sampling.spacing}

    def row_title(self, row: Row) -> str:
        """As in "DDIM-50 g=1.5", or "DDIM-50-tapered g=1"."""
        spaced = f"-{row['spacing']}" if "spacing" in row else ""
        return f"{self.prefix}{self.sampler_title(row['sampler'])}-{row['steps']}{spaced} g={row['guidance_scale']:g}"

    def mark_title(self, row: Row) -> str:
        """Steps and guidance scale, of samplers other than DDIM with their names; all have one spacing."""
        if row["sampler"] == "ddim":
            return f"{row['steps']} g={row['guidance_scale']:g}"
        return self.row_title({name: value for name, value in row.items() if name != "spacing"})

    def about(self, row: Row, report: Any) -> str:
        """Steps from noise."""
        return f"A U-Net removes noise in {row['steps']} steps ({self.sampler_title(row['sampler'])})."

    def likelihoods(
        self, pipeline: DiffusionPipeline, images: Tensor, labels: Tensor, levels: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """By each of the methods."""
        options: dict[str, Any] = {"levels": levels, "generator": generator}
        return {
            kind: pipeline.bits_per_dimension(Signed(images), labels, method=method, **options).cpu()
            for kind, method in self.methods.items()
        }

    def edits(self, pipeline: DiffusionPipeline, sampling: SamplingSettings) -> bool:
        """Not where latents are diffused, nor by a sampler that cannot paint."""
        return pipeline.codec is None and paints(find_sampler(sampling.sampler))

    def process(self, pipeline: DiffusionPipeline, sampling: SamplingSettings, call: Mapping[str, Any]) -> Process:
        """The image on its way from noise."""
        states: list[tuple[int, Tensor]] = []

        def keep(_index: int, timestep: int, x: Tensor) -> None:
            shown = x if pipeline.codec is None else pipeline.codec.decode(x)
            states.append((timestep, shown.cpu().clamp(-1, 1)))

        pipeline(sampling=sampling, callback_on_step_end=keep, **call)
        return Process(
            title="Diffusion: from noise to image",
            caption="The same network removes a little noise again and again, from pure noise at the left to the "
            "sample at the right; only some of the steps are shown.",
            alt="A diffusion sample at several timesteps, from noise to a clear image.",
            stages=[state for _, state in states],
            names=[f"t={timestep}" for timestep, _ in states],
            wide=True,
        )


def walk_of(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What names the noise schedule of a run or a pipeline, of all its settings."""
    walk = {"name": settings["schedule"], "num_timesteps": settings["num_timesteps"]}
    return walk | {"zero_terminal": settings.get("zero_terminal", False)}


def _grid(headline: SamplingSettings) -> tuple[SamplingSettings, ...]:
    """Guidance scales at the headline's number of steps and at fewer."""
    steps = headline.num_inference_steps or STEPS
    return tuple(
        replace(headline, num_inference_steps=some, guidance_scale=scale)
        for some, scale in product(sorted({steps, min(steps, FEWER[-1])}), GUIDANCE)
    )
