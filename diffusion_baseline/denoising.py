"""The network of a pipeline as samplers call it: guided, steered, and its images kept in range."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from diffusion_baseline.classifier.guiding import steering
from diffusion_baseline.diffusion import Prediction, image_and_noise, thresholded
from diffusion_baseline.editing import Edit
from diffusion_baseline.guidance import Predictor, guided, guided_by_step, guided_in_one_call
from diffusion_baseline.meanflow import ALONG_STEPS, along_walk
from diffusion_baseline.pieces import in_pieces
from diffusion_baseline.samplers import find_sampler
from diffusion_baseline.sampling_settings import SamplingSettings
from diffusion_baseline.schedules import Denoiser, Estimate, NoiseLevels
from diffusion_baseline.spacings import SPACINGS
from diffusion_baseline.unet import UNet
from var.autoencoder import LatentCodec
from var.conditions import Condition
from var.errors import UserError
from var.sampling.finite import Finite
from var.sampling.guidance import Guidance
from var.sampling.models import plain_model
from var.sampling.pipelines import ConditionedPipeline


class Denoising(ConditionedPipeline):
    """The part of a pipeline between its network and the samplers."""

    unet: UNet
    codec: LatentCodec | None
    schedule: NoiseLevels
    prediction: Prediction

    def _network(self) -> UNet:
        """The network as it is now, without what compilation or distributed training wrapped around it."""
        return plain_model(self.unet, UNet, "unet")

    def _sampler(self, settings: SamplingSettings) -> tuple[Callable[..., Tensor], dict[str, Any]]:
        """The sampler's function, and what it takes of the settings: its steps, and the keywords that it names."""
        sample = find_sampler(settings.sampler)
        named = inspect.signature(sample).parameters
        given = settings.keywords()
        if settings.eta and "eta" not in named:
            raise UserError(f"eta is a number of ddim, got {settings.eta} for {settings.sampler}; leave it out")
        return sample, {
            "steps": settings.steps(self.schedule.num_timesteps),
            **{name: given[name] for name in named if name in given},
        }

    def _way(
        self, settings: SamplingSettings, edit: Edit | None, seeds: Sequence[int]
    ) -> tuple[Callable[..., Tensor], dict[str, Any]]:
        """The sampler's function and what it takes, begun at images where there is an `edit`."""
        sample, options = self._sampler(settings)
        if edit is None:
            return sample, options
        if self.prediction == "meanflow" and settings.sampler in ALONG_STEPS and edit.strength < 1:
            raise UserError(
                f"average velocities are those of whole descents, got strength={edit.strength}; choose the sampler "
                "heun, which takes those at an instant"
            )
        return edit.around(sample, options, self.schedule, seeds)

    def _denoiser(
        self,
        condition: Condition,
        settings: SamplingSettings,
        finite: Finite,
        predicted: list[Tensor] | None,
        guidance: Guidance | None = None,
    ) -> Denoiser:
        """Wrap the network into what samplers call; the clean images that it predicts are appended to `predicted`."""
        guidance = guidance or Guidance()
        predict = self._predictor(condition, settings, guidance.weaker)
        steer = steering(guidance.classifier, self._facts(), condition, settings, self.schedule, finite)

        def denoise(x: Tensor, timesteps: Tensor) -> Tensor | Estimate:
            # Guidance may act on any kind of prediction: given x_t, all of them are linear in each other.
            output = finite.checked(predict(x, timesteps))
            image, eps = steer(image_and_noise(output, x, timesteps, self.schedule, self.prediction), x, timesteps)
            if settings.dynamic_threshold:
                image = thresholded(image, settings.dynamic_threshold)
            if settings.clip_sample:
                image = image.clamp(-1, 1)
            if settings.dynamic_threshold or settings.clip_sample:
                image, eps = image_and_noise(image, x, timesteps, self.schedule, "x0")
            if predicted is not None:
                predicted.append(image)
            return Estimate(image, eps) if self.schedule.ends_in_noise else eps

        return denoise

    def _predictor(self, condition: Condition, settings: SamplingSettings, weaker: "Denoising | None") -> Predictor:
        """The network, guided away from what it predicts without the condition, or from what the `weaker` one does."""

        def guided_by(scale: float) -> Predictor:
            if weaker is None:
                return guided_in_one_call(self._called(settings), condition, scale)
            mine, theirs = self._called(settings), weaker._called(settings)
            return guided(lambda x, t: mine(x, t, condition), lambda x, t: theirs(x, t, condition), scale)

        if weaker is None and not condition.given.any():
            return guided_by(0)  # there is nothing to guide towards: one prediction is enough
        if settings.guides_everywhere and settings.guidance_schedule == "constant":
            return guided_by(settings.guidance_scale)
        return guided_by_step(lambda t: settings.guidance_at(self.schedule.levels(t)[1].item()), guided_by)

    def _called(self, settings: SamplingSettings) -> Any:
        """What is called: a compiled network as such; one on several devices cannot divide a condition among them."""
        network = self.unet if hasattr(self.unet, "_orig_mod") else in_pieces(self._network())
        if self.prediction != "meanflow" or settings.sampler not in ALONG_STEPS or settings.eta:
            return network
        steps = self._sampler(settings)[1]["steps"]
        walk = SPACINGS[settings.spacing](steps, self.schedule.num_timesteps)
        return along_walk(network, walk, self.schedule.num_timesteps)
