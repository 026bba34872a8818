"""From class labels to images: the user's side of the diffusion baseline, called as the VAR pipeline is."""

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import torch
from torch import Tensor

from diffusion_baseline.call import Call
from diffusion_baseline.diffusion import PREDICTIONS, Prediction
from diffusion_baseline.editing import Edit, Edits, edited_shape
from diffusion_baseline.latent import check_fits, check_range
from diffusion_baseline.likelihood import Likelihoods
from diffusion_baseline.meanflow import check_interval
from diffusion_baseline.output import DiffusionOutput
from diffusion_baseline.sampling_settings import SamplingKeywords, SamplingSettings
from diffusion_baseline.schedules import named_schedule
from diffusion_baseline.stepping import timestep_pairs
from diffusion_baseline.unet import UNet, UNetConfig
from var.autoencoder import LatentCodec
from var.errors import UserError, chosen
from var.images import images_at_once
from var.sampling.guidance import Guidance
from var.sampling.labels import ClassLabels, Count, checked_class_names, count_images, label_of
from var.sampling.models import plain_model
from var.sampling.prompts import Prompt, Reader
from var.sampling.reporting import Reporting
from var.sampling.streams import Generators, GivenSeeds, random_streams
from var.sampling.vectors import Vectors


class DiffusionPipeline(Edits, Likelihoods):
    """A U-Net with the noise schedule and the kind of prediction that it is trained for.

    `schedule` is "cosine", "linear" or "straight", `num_timesteps` its T, and with `zero_terminal` nothing of the image
    is left at its end; `prediction` is "eps", "v", "x0", "flow" or "meanflow", the last for a network that is told an
    interval; `class_names` are the numbers of the classes if not given; `text_encoder` is that of the texts it was
    trained with: an opened one, or its name and digest, by which it is opened when it is needed. `sampling` are the
    settings that calls take where they say nothing. With a `codec` it is latents that are diffused (Rombach et al.
    2022, arXiv 2112.10752).
    """

    package = "diffusion_baseline"
    parts = {"unet": UNet}  # noqa: RUF012 (read by the mixin, never changed)
    optional = {"codec": LatentCodec}  # noqa: RUF012 (likewise)
    adapted = "unet"
    _sampling_class = SamplingSettings
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
        sampling: Any = None,  # SamplingSettings, or {"guidance_scale": ..., ...}
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
        self.sampling = sampling

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
        config, codec = self._network().config, self._codec()
        return (config.image_channels, *config.size) if codec is None else codec.image_shape

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

    def _check_sampling(self, settings: SamplingSettings) -> None:
        check_range(settings, self._codec())
        timestep_pairs(self._sampler(settings)[1]["steps"], self.schedule.num_timesteps)

    def label_of(self, name: str | int) -> int:
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
        """Generate images of what is asked for.

        `class_labels`: labels or names of classes, one for all images or one for each; "random" for a class drawn from
        each image's seed, None for the null label; or a `Condition`. `prompt`, a text for all or one for each, is for
        models trained on texts; `vectors`, (n, width) or one for all, for those and all others trained on vectors.
        The walk from noise is said by `sampling`, by its fields as keywords (see `SamplingSettings`), or both; without
        the first, the pipeline's `sampling` says the rest. An object `guidance` says all that guides. `edit` is what
        the methods `edit` and `variations` make.
        Randomness: one generator, a list with one for each image, or `seeds`; an image depends on its own seed only,
        not on the batch. `output_type`: "pil", "pt" (float NCHW in [0, 1]) or "np" (float NHWC in [0, 1]).
        `callback_on_step_end` receives the step's index, its timestep and x after it, a latent where there is a codec.
        Raises `UserError` for requests that make no sense, and where the network computes NaN or infinity.
        """
        reporting = Reporting(self.image_shape[0], output_type, return_intermediates, callback_on_step_end, progress)
        guidance, settings = self._settings_of_call(guidance, sampling, keywords)
        check_range(settings, self._codec())
        edit = None if edit is None else Edit.fitting(edit, edited_shape(self))
        count = count_images(class_labels, num_images, seeds, vectors, prompt, **(edit.counts if edit else {}))
        generators, seeds = random_streams(count, generator, seeds)
        sample, options = self._way(settings, edit, seeds)
        condition = self._condition(class_labels, prompt, vectors, count, seeds)
        call = Call(condition, seeds, generators, settings, guidance, sample, options, reporting)
        return call.output(self, self.decode)

    def _facts(self) -> dict[str, Any]:
        config, own = self._network().config, self.settings()
        noise = {name: own.get(name, False) for name in ("schedule", "num_timesteps", "zero_terminal", "prediction")}
        images = {"image_size": config.size, "image_channels": config.image_channels}
        numbered = tuple(map(str, range(config.num_classes)))  # nobody has named the classes
        names = None if self.class_names == numbered else self.class_names
        return {**super()._facts(), "class_names": names, **images, **noise}
