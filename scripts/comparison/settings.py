"""What a comparison is made of: tables of everything that moves its numbers, fixed before any sample is looked at."""

from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from diffusion_baseline.presets import diffusion_run
from diffusion_baseline.sampling_settings import SamplingSettings
from diffusion_baseline.settings import DiffusionRun
from var.errors import chosen
from var.evaluation.features.classifier import ClassifierConfig
from var.recipes.transformer.presets import transformer_run
from var.recipes.transformer.settings import TransformerRun
from var.recipes.vqvae.presets import vqvae_run
from var.recipes.vqvae.settings import VQVAERun

# Changes whenever the same settings would give other numbers, so that nothing older is reused.
CODE_VERSION = 2

Run = TypeVar("Run", VQVAERun, TransformerRun, DiffusionRun)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Both paradigms on one data set, and how they are judged."""

    data: str  # what `var.data.open_data` opens
    reference: str  # in words: what distances are measured to
    tokenizer: VQVAERun
    transformer: TransformerRun
    diffusion: DiffusionRun
    judge: ClassifierConfig  # the network whose features give the distance
    second_judge: ClassifierConfig  # of another shape, used for no choice: does it agree?
    judge_steps: int
    per_class: int  # samples of each class
    generation_seeds: int  # sets of samples of the headline settings, whose spread is told
    var_guidance: tuple[float, ...]  # guidance scales of the sweep, besides the headline's
    diffusion_headline: SamplingSettings  # fixed beforehand, as VAR's is by its preset
    diffusion_sweep: tuple[SamplingSettings, ...]  # of any samplers, besides the headline
    rounding: str  # of samples to uint8, one of `var.images.ROUNDINGS`
    timing_images: int  # of one timed call
    timing_repeats: int
    equal: str = "training seconds on the machine of the presets"  # what both trainings cost alike

    def settings(self) -> dict[str, Any]:
        """All fields, fit for JSON."""
        return asdict(self)


def _ddim(steps: int, guidance_scale: float) -> SamplingSettings:
    return SamplingSettings(sampler="ddim", num_inference_steps=steps, guidance_scale=guidance_scale)


def shortened(run: Run, steps: int) -> Run:
    """The same run with fewer steps of training; the averaging window shrinks with it."""
    training = run.training
    decay = 1 - min(1.0, (1 - training.ema_decay) * training.steps / steps) if training.ema_decay else 0.0
    return replace(run, training=replace(training, steps=steps, ema_decay=decay))


def _digits() -> Comparison:
    return Comparison(
        data="digits",
        reference="all 1797 real digits",
        tokenizer=vqvae_run("digits"),
        transformer=transformer_run("digits"),
        diffusion=diffusion_run("digits"),
        judge=ClassifierConfig(name="digits"),
        second_judge=ClassifierConfig(
            name="digits-second", widths=(24, 48, 96, 48), strides=(1, 1, 2, 2), activation="relu"
        ),
        judge_steps=500,
        per_class=100,
        generation_seeds=3,
        var_guidance=(1.0, 1.2, 1.5),
        diffusion_headline=_ddim(50, diffusion_run("digits").guidance_scale),
        # Without guidance, which doubles the time and gains little at few steps.
        diffusion_sweep=(_ddim(5, 1.0), _ddim(10, 1.0), _ddim(20, 1.0)),
        rounding="nearest",
        timing_images=100,
        timing_repeats=3,
    )


def _digits_quick() -> Comparison:
    full = _digits()
    return replace(
        full,
        tokenizer=shortened(full.tokenizer, 120),
        transformer=shortened(full.transformer, 150),
        diffusion=shortened(full.diffusion, 200),
        judge_steps=150,
        per_class=20,
        var_guidance=(1.3,),
        diffusion_sweep=(_ddim(10, 1.0),),
        timing_images=20,
    )


COMPARISONS = {"digits": (_digits, _digits_quick)}
"""By name: the functions that make the full comparison and the quick one."""


def comparison(name: str, *, quick: bool = False) -> Comparison:
    """The comparison `name`; raises `UserError` with suggestions for an unknown one."""
    return chosen(name, COMPARISONS, "comparison")[quick]()
