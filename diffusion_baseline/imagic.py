"""An image changed by what the network is told of it: Imagic (Kawar et al. 2023, arXiv 2210.09276)."""

from collections.abc import Iterable
from copy import copy, deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm.auto import tqdm

from diffusion_baseline.diffusion import simplified_loss
from diffusion_baseline.editing import edited_shape
from diffusion_baseline.output import DiffusionOutput
from diffusion_baseline.pipeline import DiffusionPipeline
from diffusion_baseline.unet import UNet
from var import checks
from var.conditions import ClassEmbedding, Condition, Shown, Text, condition_of
from var.errors import UserError
from var.eval_mode import eval_mode
from var.randomness import keyed_generator
from var.sampling.editing import GivenImages, Start
from var.sampling.finite import check_finite
from var.sampling.labels import ClassLabels, Count, count_images
from var.sampling.numbers import check_switches
from var.sampling.prompts import Prompt
from var.sampling.streams import GivenSeeds
from var.sampling.vectors import Vectors


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagicSettings:
    """How the image is learned: first by what the network is told, then by the network; zero steps leave one out."""

    embedding_steps: int = 200
    embedding_lr: float = 1e-2
    network_steps: int = 400
    network_lr: float = 2e-4
    batch_size: int = 16  # noise levels of one image in each step
    seed: int = 0

    def __post_init__(self) -> None:
        checks.fields(self)
        checks.at_least(0, self, "embedding_steps", "network_steps", "seed")
        checks.at_least(1, self, "batch_size")
        checks.positive(self, "embedding_lr", "network_lr")


class Imagic:
    """A pipeline that has learned one image, and draws it on the way to what it was asked to show; see `imagic`."""

    def __init__(self, pipeline: DiffusionPipeline, told: "Told", condition: Condition) -> None:
        self.pipeline, self.told, self.condition = pipeline, told, condition

    def __call__(
        self, eta: float, num_images: Count = None, *, seeds: GivenSeeds = None, **call: Any
    ) -> DiffusionOutput:
        """Draw with e = eta e_target + (1 - eta) e_optimised (Eq. 3): 0 is the image, 1 what it was asked to show.

        The rest is as for `DiffusionPipeline`. Raises `UserError` for an `eta` outside [0, 1], and as that does.
        """
        if not 0 <= checks.argument("eta", eta, float) <= 1:
            raise UserError(
                f"eta must lie in [0, 1], from the image to what it is asked to show, got {eta}; correct it"
            )
        count = count_images(None, num_images, seeds)
        self.told.mix(eta)
        return self.pipeline(self.condition.each(lambda part: part.repeat_interleave(count, 0)), seeds=seeds, **call)


@torch.inference_mode(False)
def imagic(
    pipeline: DiffusionPipeline,
    image: GivenImages,
    class_labels: ClassLabels = None,
    *,
    prompt: Prompt = None,
    vectors: Vectors = None,
    settings: ImagicSettings | None = None,
    progress: bool = True,
) -> Imagic:
    """Learn an `image` together with what it is to be asked to show: a class, a `prompt` or `vectors`.

    What the network is told of that, e_target, is moved until the network denoises the image best (Section 3.2, A); at
    this e_optimised a copy of the network is then trained to do so (B). The pipeline is left as it is; equal settings
    and seeds give the same. Raises `UserError` for more than one image, for one that does not fit the model, if nothing
    is asked for, and where the loss is not finite.
    """
    settings = settings or ImagicSettings()
    check_switches(progress=progress)
    images = Start.of(edited_shape(pipeline), image).images
    if len(images) != 1:
        raise UserError(f"a network learns one image, got {len(images)}; call for each of them")
    condition = pipeline._condition(class_labels, prompt, vectors, 1, [settings.seed]).to(pipeline.device)
    if not condition.given.all():
        raise UserError("an image changes towards what it is asked to show, got nothing; pass class_labels or a prompt")
    network: UNet = deepcopy(pipeline._network()).float().requires_grad_(False)
    told = Told(network.label, condition)
    network.label = told  # pyright: ignore[reportAttributeAccessIssue]
    own = copy(pipeline)
    own.unet = network
    total = settings.embedding_steps + settings.network_steps
    learn = partial(_learn, own, images.float().to(pipeline.device), condition, settings)
    with eval_mode(network), torch.enable_grad(), tqdm(total=total, desc="imagic", disable=not progress) as bar:
        learn("embedding", told.optimised, settings.embedding_steps, settings.embedding_lr, bar)
        weights = [*network.requires_grad_(True).parameters()]
        told.optimised.requires_grad_(False)
        learn("network", weights, settings.network_steps, settings.network_lr, bar)
    network.requires_grad_(False)
    return Imagic(own, told, condition)


def _learn(
    pipeline: DiffusionPipeline,
    image: Float[Tensor, "1 c h w"],
    condition: Condition,
    settings: ImagicSettings,
    what: str,
    weights: Iterable[Tensor],
    steps: int,
    lr: float,
    bar: Any,
) -> None:
    """Move the `weights` so that the network denoises the image at all noise levels (Eq. 1 and 2)."""
    generator = keyed_generator("imagic", settings.seed, what)
    optimizer = torch.optim.Adam(weights, lr=lr)
    images = image.expand(settings.batch_size, -1, -1, -1)
    rows = condition.each(lambda part: part.repeat_interleave(settings.batch_size, 0))
    for _ in range(steps):
        timesteps = torch.randint(pipeline.schedule.num_timesteps, (len(images),), generator=generator)
        noise = torch.randn(images.shape, generator=generator)
        timesteps, noise = timesteps.to(image.device), noise.to(image.device)
        denoise = partial(pipeline.unet, shown=rows)
        loss = simplified_loss(denoise, images, noise, timesteps, pipeline.schedule, pipeline.prediction).mean()
        check_finite(loss, "an image is learned by finite losses", f"lower {what}_lr")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bar.update()


class Told(nn.Module):
    """Stands for the embedding of a network: whatever is asked for, it tells the same.

    `optimised` begins as what the embedding tells of a condition of one row; rows of nothing are told as before.
    """

    def __init__(self, embedding: ClassEmbedding, condition: Condition) -> None:
        super().__init__()
        self.embedding = embedding
        with torch.no_grad():
            text = embedding.text(condition)
            self.target = [embedding(condition), *([] if text is None else [text.features])]
        self.mask = None if text is None else text.mask
        self.optimised = nn.ParameterList(nn.Parameter(part.clone()) for part in self.target)
        self.mix(0)

    def mix(self, eta: float) -> None:
        """Tell eta e_target + (1 - eta) e_optimised from now on."""
        pairs = zip(self.optimised, self.target, strict=True)
        self.mixed = [torch.lerp(mine, target, eta) for mine, target in pairs] if eta else list(self.optimised)

    def forward(self, shown: Shown) -> Float[Tensor, "batch width"]:
        """What the network is told."""
        condition = condition_of(shown)
        return torch.where(condition.given[:, None], self.mixed[0], self.embedding(condition.null()))

    def text(self, shown: Shown) -> Text | None:
        """What its cross-attention looks at."""
        condition = condition_of(shown)
        null = self.embedding.text(condition.null())
        if null is None or self.mask is None:
            return None
        given = condition.given[:, None, None]
        return Text(
            torch.where(given, self.mixed[1], null.features), torch.where(given[..., None], self.mask, null.mask)
        )
