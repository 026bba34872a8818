"""From class labels to images: the user's side of the diffusion baseline, called as the VAR pipeline is."""

import inspect
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Unpack

import torch
from torch import Tensor
from tqdm.auto import tqdm

from diffusion_baseline.classifier.guiding import steering
from diffusion_baseline.diffusion import PREDICTIONS, Prediction, image_and_noise, thresholded
from diffusion_baseline.editing import Edit, Edits
from diffusion_baseline.guidance import Predictor, guided, guided_by_step, guided_in_one_call
from diffusion_baseline.latent import check_fits, check_range
from diffusion_baseline.likelihood import Likelihoods
from diffusion_baseline.meanflow import ALONG_STEPS, along_walk, check_interval
from diffusion_baseline.samplers import find_sampler
from diffusion_baseline.sampling_settings import SamplingKeywords, SamplingSettings
from diffusion_baseline.schedules import Denoiser, Estimate, named_schedule
from diffusion_baseline.spacings import SPACINGS
from diffusion_baseline.stepping import normal
from diffusion_baseline.unet import UNet, UNetConfig
from var.autoencoder import LatentCodec
from var.conditions import Condition
from var.errors import UserError, chosen
from var.eval_mode import eval_mode
from var.images import format_images, images_at_once
from var.sampling.finite import Finite
from var.sampling.guidance import Guidance
from var.sampling.labels import ClassLabels, Count, checked_class_names, count_images, label_of
from var.sampling.models import plain_model
from var.sampling.numbers import check_callback, check_switches, updated
from var.sampling.pipelines import ConditionedPipeline
from var.sampling.prompts import Prompt, Reader
from var.sampling.streams import Generators, GivenSeeds, random_streams
from var.sampling.vectors import Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffusionOutput:
    """Images and how they came about."""

    images: Any  # as `output_type` says: list of PIL images, float tensor NCHW or float array NHWC in [0, 1]
    labels: Tensor  # (batch,); num_classes is the null label
    seeds: list[int]  # of every image; passing it as `seeds` with the other settings repeats the image
    intermediates: list[Any] | None = None  # the clean images predicted at every step, in the same form, if asked for


class DiffusionPipeline(Edits, Likelihoods, ConditionedPipeline):
    """A U-Net with the noise schedule and the kind of prediction that it is trained for.

    `schedule` is "cosine", "linear" or "straight", `num_timesteps` its T, and with `zero_terminal` nothing of the image
    is left at its end; `prediction` is "eps", "v", "x0", "flow" or "meanflow", the last for a network that is told an
    interval; `class_names` are the numbers of the classes if not given; `text_encoder` is that of the texts it was
    trained with: an opened one, or its name and digest, by which it is opened when it is needed. With a `codec` it is
    latents that are diffused (Rombach et al. 2022, arXiv 2112.10752).
    """

    package = "diffusion_baseline"
    parts = {"unet": UNet}  # noqa: RUF012 (read by the mixin, never changed)
    optional = {"codec": LatentCodec}  # noqa: RUF012 (likewise)
    adapted = "unet"
    _noisiest = 1.0

    def __init__(
        self,
        unet: UNet,
        *,
        schedule: str = "cosine",
        num_timesteps: int = 1000,
        zero_terminal: bool = False,
        prediction: str = "v",
        class_names: Sequence[str] | None = None,
        text_encoder: Any = None,  # a TextEncoder, or {"name": ..., "digest": ...}
        codec: LatentCodec | None = None,
    ) -> None:
        self.unet, self.codec = unet, codec
        self._reader = Reader(text_encoder)
        num_classes = self._network().config.num_classes
        names = checked_class_names(class_names, num_classes)
        unet.eval()
        if (codec := self._codec()) is not None:
            codec.eval().requires_grad_(False)
        self.schedule = named_schedule(schedule, num_timesteps, zero_terminal=zero_terminal)
        self.prediction: Prediction = chosen(prediction, PREDICTIONS, "prediction")
        if self.schedule.ends_in_noise and prediction == "eps":
            raise UserError(
                "at the end of this schedule nothing is left of the image, and the noise does not tell it, got "
                "prediction='eps'; predict v, x0 or flow"
            )
        check_interval(prediction, schedule, self._network().config.interval)
        self.class_names = tuple(map(str, range(num_classes))) if names is None else names
        self._schedule_name, self._zero_terminal = schedule, zero_terminal

    def settings(self) -> dict[str, Any]:
        """What is saved besides the network: the constructor's other arguments."""
        return {
            "schedule": self._schedule_name,
            "num_timesteps": self.schedule.num_timesteps,
            **({"zero_terminal": True} if self._zero_terminal else {}),
            "prediction": self.prediction,
            "class_names": list(self.class_names or ()),
            **super().settings(),
        }

    @property
    def device(self) -> torch.device:
        """Where the network lies."""
        return self._network().stem.weight.device

    @property
    def _takes(self) -> UNetConfig:
        return self._network().config

    def _network(self) -> UNet:
        """The network as it is now, without what compilation or distributed training wrapped around it."""
        return plain_model(self.unet, UNet, "unet")

    def _codec(self) -> LatentCodec | None:
        """The codec, if there is one, where the network is; raises `UserError` unless both are of the same latents."""
        if self.codec is None:
            return None
        codec = plain_model(self.codec, LatentCodec, "codec")
        check_fits(codec, self._network().config)
        return codec if codec.scale.device == self.device else codec.to(self.device)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images."""
        config = self._network().config
        return (config.image_channels, *config.size) if self.codec is None else self.codec.image_shape

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """What is diffused of images in [-1, 1]: their latents, or themselves."""
        codec = self._codec()
        return images if codec is None else codec.encode(images)

    @torch.no_grad()
    def decode(self, diffused: Tensor) -> Tensor:
        """The images of what `encode` gives; memory holds the features of a few of them only."""
        if (codec := self._codec()) is None:
            return diffused
        few = images_at_once(codec.image_shape[1:], self.device)
        return torch.cat([codec.decode(part) for part in diffused.split(few)])

    def label_of(self, name: str) -> int:
        """Label of the class with this name; see `var.sampling.labels.label_of`."""
        return label_of(name, self._network().config.num_classes, self.class_names)

    @torch.inference_mode(False)
    @torch.no_grad()
    def __call__(
        self,
        class_labels: ClassLabels = None,
        num_images: Count = None,
        *,
        prompt: Prompt = None,
        vectors: Vectors = None,
        guidance: Guidance | None = None,
        edit: Edit | None = None,
        sampling: SamplingSettings | None = None,
        generator: Generators = None,
        seeds: GivenSeeds = None,
        output_type: str = "pil",
        return_intermediates: bool = False,
        callback_on_step_end: Callable[[int, int, Tensor], None] | None = None,
        progress: bool = True,
        **keywords: Unpack[SamplingKeywords],
    ) -> DiffusionOutput:
        """Generate images.

        `class_labels`: a label or a class's name, or one for each image; None for images without a class (the null
        label), "random" for a class drawn from each image's seed; or a `Condition`. `prompt`, a text for all images or
        one for each, is for models that were trained on texts; `vectors`, (n, width) or one for all images, are for
        those and all others that were trained on vectors. `edit` is what the methods `edit` and `variations` make. The
        walk is said by `sampling`, by its fields as keywords, or both: `guidance_scale` (default 1.5; 1 means off, 0
        ignores what is asked for), at the noise levels of `guidance_interval`, or all that and more in an object
        `guidance`; `num_inference_steps`, 1 to T, None being 50 for DDIM and T for DDPM; the `sampler` "ddim" (the
        default), with randomness `eta` from 0 to 1, "ddpm", which is ancestral, or another of `samplers`; the `spacing`
        "trailing", which begins at the noisiest timestep however few the steps are, or "leading", that of before;
        `clip_sample` keeps the predicted clean image in [-1, 1] at every step, `dynamic_threshold` brings it there by
        that quantile of each image's values.
        Randomness: one generator, a list with one for each image, or `seeds`; an image depends on its own seed only,
        not on the batch, so that equal seeds and classes give equal images.
        `output_type`: "pil", "pt" (float NCHW in [0, 1]) or "np" (float NHWC in [0, 1]). `callback_on_step_end`
        receives the step's index, its timestep and x after it, a latent where there is a codec. Raises `UserError` for
        requests that make no sense, and where the network computes NaN or infinity.
        """
        network = self._network()
        check_callback(callback_on_step_end)
        check_switches(return_intermediates=return_intermediates, progress=progress)
        guidance, given = self._guided(guidance, keywords)
        settings = updated(sampling, SamplingSettings, given, DiffusionPipeline.__call__)
        check_range(settings, self._codec())
        sample, options = self._sampler(settings)
        count = count_images(class_labels, num_images, seeds, vectors, prompt, **(edit.counts if edit else {}))
        generators, seeds = random_streams(count, generator, seeds)
        condition = self._condition(class_labels, prompt, vectors, count, seeds)
        like = torch.empty(0, device=self.device)
        noise = normal((count, network.config.image_channels, *network.config.size), generators, like)
        if edit is not None:
            if self.prediction == "meanflow" and settings.sampler in ALONG_STEPS and edit.strength < 1:
                raise UserError(
                    f"average velocities are those of whole descents, got strength={edit.strength}; choose the sampler "
                    "heun, which takes those at an instant"
                )
            sample, options = edit.around(sample, options, self.schedule, seeds)
        format_images(torch.empty(0, *self.image_shape), output_type)  # a wrong type is found now, not after the work

        predicted: list[Tensor] | None = [] if return_intermediates else None
        finite = Finite("generation needs finite predictions", "look at the network's weights")
        denoise = self._denoiser(condition.to(self.device), settings, finite, predicted, guidance)
        bar = tqdm(total=options["steps"], desc=settings.sampler, leave=False, disable=not progress)
        with ExitStack() as models, bar:
            for model in (self.unet, guidance.classifier, guidance.weaker and guidance.weaker.unet):
                if model is not None:
                    models.enter_context(eval_mode(model))

            def on_step(index: int, timestep: int, x: Tensor) -> None:
                bar.update()
                if callback_on_step_end is not None:
                    callback_on_step_end(index, timestep, x)

            x = sample(denoise, noise, self.schedule, generator=generators, on_step=on_step, **options)
        finite.checked(x)  # steps may leave the range although no prediction did
        finite.settle()
        return DiffusionOutput(
            images=format_images(self.decode(x), output_type),
            labels=condition.classes(network.config.num_classes),
            seeds=seeds,
            intermediates=None
            if predicted is None
            else [format_images(self.decode(each), output_type) for each in predicted],
        )

    def _sampler(self, settings: SamplingSettings) -> tuple[Callable[..., Tensor], dict[str, Any]]:
        """The sampler's function, and what it takes of the settings: its steps, and the keywords that it names."""
        sample = find_sampler(settings.sampler)
        named, total = inspect.signature(sample).parameters, self.schedule.num_timesteps
        steps = settings.num_inference_steps
        if steps is None:
            steps = min(named["steps"].default or total, total)
        given = settings.keywords()
        if settings.eta and "eta" not in named:
            raise UserError(f"eta is a number of ddim, got {settings.eta} for {settings.sampler}; leave it out")
        return sample, {"steps": steps, **{name: given[name] for name in named if name in given}}

    def _facts(self) -> dict[str, Any]:
        config, own = self._network().config, self.settings()
        noise = {name: own.get(name, False) for name in ("schedule", "num_timesteps", "zero_terminal", "prediction")}
        images = {"image_size": config.size, "image_channels": config.image_channels}
        numbered = tuple(map(str, range(config.num_classes)))  # nobody has named the classes
        names = None if self.class_names == numbered else self.class_names
        return {**super()._facts(), "class_names": names, **images, **noise}

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

    def _predictor(self, condition: Condition, settings: SamplingSettings, weaker: Any) -> Predictor:
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
        network = self.unet if hasattr(self.unet, "_orig_mod") else self._network()
        if self.prediction != "meanflow" or settings.sampler not in ALONG_STEPS or settings.eta:
            return network
        steps = self._sampler(settings)[1]["steps"]
        walk = SPACINGS[settings.spacing](steps, self.schedule.num_timesteps)
        return along_walk(network, walk, self.schedule.num_timesteps)
