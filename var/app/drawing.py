"""Drawing for the page: what is asked for in its controls, progress, time, and pictures that say what repeats them."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from var.app.models import Models
from var.app.pictures import file_of
from var.errors import UserError
from var.images import to_pil
from var.sampling.command import LoadedModel
from var.sampling.labels import resolve_labels
from var.sampling.record import KEY, Recipe, record_text
from var.sampling.seeds import passed_seeds
from var.sampling.work import Item

NO_CLASS, RANDOM = "no class", "random"
"""Words among the classes: images without one; a class that follows from each seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What images show, and their seeds."""

    labels: Sequence[int] | None
    prompt: str | None
    seeds: Sequence[int]

    @classmethod
    def of(cls, model: LoadedModel, shown: str | None, prompt: str | None, seed: float | None, count: int) -> "Asked":
        """What the controls ask for: `count` images from a seed on; raises `UserError` for what the model refuses."""
        if seed is None or seed != int(seed):
            raise UserError(f"a seed is a whole number, got {seed}; correct it")
        seeds = passed_seeds(range(int(seed), int(seed) + count))
        text = (prompt or "").strip() or None
        if not model.num_classes or not shown or shown == NO_CLASS:
            return cls(labels=None, prompt=text, seeds=seeds)
        labels = resolve_labels(shown, count, model.num_classes, seeds, model.class_names)
        return cls(labels=labels.tolist(), prompt=text, seeds=seeds)

    def items(self) -> list[Item]:
        """Each image, as records take it."""
        labels = self.labels or [None] * len(self.seeds)
        return [Item("", seed, label, self.prompt) for seed, label in zip(self.seeds, labels, strict=True)]

    def names(self, model: LoadedModel) -> list[str]:
        """What each image is called under its picture; the prompt, which all have, would leave no room for the seed."""
        if self.labels is None:
            return [f"seed {seed}" for seed in self.seeds]
        shown = [_called(model, each) for each in self.labels]
        return [f"{name}, seed {seed}" for name, seed in zip(shown, self.seeds, strict=True)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Drawn:
    """Images, and how they came about; sessions tell them apart by identity."""

    asked: Asked
    images: Tensor  # [-1, 1], (n, c, h, w), on the CPU
    pictures: Sequence[Image.Image]  # each with its record, which PNG files keep
    stages: Sequence[Tensor]  # what the model had after each step, on the CPU
    tokens: Sequence[Tensor]  # token maps, where there are such
    seconds: float

    def shows(self, index: int, model: LoadedModel) -> tuple[str, str]:
        """The class and the prompt of an image, as the controls have them."""
        labels = self.asked.labels
        return NO_CLASS if labels is None else _called(model, labels[index]), self.asked.prompt or ""

    def gallery(self, model: LoadedModel) -> list[tuple[str, str]]:
        """Files of the pictures, with their names."""
        return list(zip(map(file_of, self.pictures), self.asked.names(model), strict=True))


def draw(
    models: Models,
    model: LoadedModel,
    asked: Asked,
    settings: Mapping[str, Any],
    progress: Callable[..., Any],
    *,
    title: str,
    steps: int,
    call: Callable[..., Any] | None = None,
    told: Mapping[str, Any] | None = None,
    **named: Any,
) -> Drawn:
    """Draw what is `asked` of a model by `call`, its pipeline unless given, in about so many `steps`.

    `progress` is called with the share that is done; `settings` are fields of the model's sampling settings, of which
    the others are as it recommends; `named` are further arguments, of which records tell what `told` says.
    """
    sampling = model.settings(settings)
    stages: list[Tensor] = []

    def on_step(index: int, _: Any, state: Tensor) -> None:
        if models.closing.is_set():
            raise UserError("the server must run while it draws, but it ends; start it again")
        stages.append(state.detach().cpu())
        progress(min((index + 1) / steps, 1), desc=title)

    prompt = {} if asked.prompt is None else {"prompt": asked.prompt}
    progress(0, desc=title)
    started = time.perf_counter()
    out = (call or model.pipeline)(
        *named.pop("arguments", ()),
        None if asked.labels is None else list(asked.labels),
        **({"seeds": list(asked.seeds)} | prompt | named),
        sampling=sampling,
        output_type="pt",
        progress=False,
        callback_on_step_end=on_step,
    )
    images = out.images.cpu() * 2 - 1
    seconds = time.perf_counter() - started
    read = {"text_encoder": model.text_encoder["digest"]} if prompt and model.text_encoder else {}
    recipe = Recipe({**model.record, **read, **sampling.keywords(), **(told or {})}, model.names)
    pictures = to_pil(images)
    for picture, item in zip(pictures, asked.items(), strict=True):
        picture.info[KEY] = record_text(recipe.record(item))
    tokens = [each.cpu() for each in getattr(out, "tokens", ())]
    return Drawn(asked=asked, images=images, pictures=pictures, stages=stages, tokens=tokens, seconds=seconds)


@torch.no_grad()
def stage_images(model: LoadedModel, stages: Sequence[Tensor], index: int) -> Tensor:
    """Image `index` after each of the stages, in [-1, 1]."""
    assert model.picture is not None
    latents = torch.cat([stage[index : index + 1] for stage in stages])
    return model.picture(latents.to(model.pipeline.device)).cpu().clamp(-1, 1)


def _called(model: LoadedModel, label: int) -> str:
    """The first of the names of a class."""
    return model.names[label].split(",")[0]
