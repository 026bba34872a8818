"""The stages that draw samples of a trained model at every setting."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from comparison.contenders import Setting
from comparison.data import evenly, real_images
from comparison.families import FAMILIES
from comparison.schedule import Job, Place
from comparison.settings import CODE_VERSION, Comparison
from comparison.stages import Stage
from comparison.trained import labels_of, reads_prompts
from comparison.training import load_pipeline, model_name
from var.conditions import Condition
from var.configs import config_to_dict
from var.data.base import condition_size, conditions_at
from var.foreign.archives import npz_array, write_npz
from var.images import to_uint8
from var.randomness import keyed_seed

BATCH = 100
"""Images of one call, for all models."""

SAMPLES = "images.npz"


def settings_of(plan: Comparison, model: str) -> list[Setting]:
    """The settings of a model that are compared: the headline's first, then the sweep."""
    return FAMILIES[model].settings(plan.models[model])


def asked_places(plan: Comparison, part: str) -> Tensor | None:
    """The images of a part of the data whose likes are drawn; None where it is so many of each class instead."""
    if plan.per_class is not None and part == plan.data.reference:
        return None
    real = real_images(plan.data, part)
    return real.places[evenly(real.labels, plan.most_samples, f"asked of {part}")]


def sample_labels(plan: Comparison, part: str | None = None) -> Tensor:
    """Labels of the judged samples: those of a part of the data, or all of class 0, then of class 1, and so on."""
    part = part or plan.data.reference
    places = asked_places(plan, part)
    if places is None:
        assert plan.per_class is not None
        return torch.arange(len(plan.data.part(part).classes)).repeat_interleave(plan.per_class)
    return plan.data.part(part).labels[places]


@dataclass(frozen=True, slots=True)
class Asked:
    """What samples are asked to show: classes, or all that real images show; and their captions."""

    shown: Tensor | Condition | None  # None for models that are told captions alone
    prompts: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.prompts if self.shown is None else self.shown)  # pyright: ignore[reportArgumentType]

    def rows(self, rows: Tensor) -> "Asked":
        """Some of them."""
        some = self.shown
        if some is not None:
            some = some[rows] if isinstance(some, Tensor) else some.each(lambda part: part[rows])
        return Asked(some, None if self.prompts is None else tuple(self.prompts[row] for row in rows.tolist()))

    def call(self) -> dict[str, Any]:
        """The arguments of a pipeline's call."""
        return {"class_labels": self.shown} | ({} if self.prompts is None else {"prompt": list(self.prompts)})


def sample_prompts(plan: Comparison, part: str | None = None) -> list[str] | None:
    """The captions that samples are asked for by; None where they are not."""
    part = part or plan.data.reference
    data, places = plan.data.part(part), asked_places(plan, part)
    if not plan.data.captions:
        return None
    rows = range(len(sample_labels(plan, part))) if places is None else places.tolist()
    captions = data.captions  # pyright: ignore[reportAttributeAccessIssue]
    return [captions[row % len(data)] for row in rows]


def asked(plan: Comparison, part: str, pipeline: Any, model: str) -> Asked:
    """What the judged samples are asked to show, in the words of the pipeline."""
    data, labels, places = plan.data.part(part), sample_labels(plan, part), asked_places(plan, part)
    if places is None:  # what the images of the part show, as often as it takes
        places = torch.arange(len(labels)) % len(data)
    return _asked(plan, part, pipeline, model, places, labels, sample_prompts(plan, part))


def asked_like(plan: Comparison, part: str, pipeline: Any, model: str, places: Tensor) -> Asked:
    """What the images at these `places` of the part show, in the words of the pipeline."""
    data = plan.data.part(part)
    captions = [data.captions[place] for place in places.tolist()] if plan.data.captions else None  # pyright: ignore[reportAttributeAccessIssue]
    return _asked(plan, part, pipeline, model, places, data.labels[places], captions)


def _asked(
    plan: Comparison, part: str, pipeline: Any, model: str, places: Tensor, labels: Tensor, prompts: list[str] | None
) -> Asked:
    data = plan.data.part(part)
    if condition_size(data) != (len(data.classes), 0, 0):
        return Asked(conditions_at(data, places))
    prompts = prompts if reads_prompts(pipeline) else None
    shown = None
    if not prompts or getattr(pipeline, FAMILIES[model].network).config.num_classes:
        trained = plan.models[model].trained
        shown = labels_of(FAMILIES[model], pipeline, data, trained)[labels] if trained else labels
    return Asked(shown, tuple(prompts) if prompts else None)


def draw(
    pipeline: Any, setting: Setting, wanted: Asked, seed: int, number: int = 0, *, line: int | None = None
) -> Tensor:
    """Images in [-1, 1] of what is `wanted`; image i depends on (seed, number, i) only: all settings share seeds.

    With a `line` of the terminal, a bar is shown there.
    """
    key = ("comparison", seed) if number == 0 else ("comparison", seed, "set", number)
    parts = []
    starts = range(0, len(wanted), BATCH)
    for start in tqdm(starts, desc=setting.title, disable=line is None, position=line, leave=False):
        chosen = wanted.rows(torch.arange(start, min(start + BATCH, len(wanted))))
        seeds = [keyed_seed(*key, start + i) for i in range(len(chosen))]
        out = pipeline(**chosen.call(), seeds=seeds, output_type="pt", progress=False, sampling=setting.sampling)
        parts.append(out.images.cpu() * 2 - 1)
    return torch.cat(parts)


def sampling_jobs(place: Place, settings: Sequence[Setting], seeds: Sequence[int], part: str) -> list[Job]:
    """One job per setting and seed, and one for each further set of a headline setting; the longest first."""
    sets = place.plan.generation_seeds
    jobs = [(setting, number) for setting in settings for number in range(sets if setting.headline else 1)]
    jobs.sort(key=lambda job: (job[1], -job[0].evaluations))
    return [
        Job(
            samples_name(setting, number, seed, part),
            sample_stage,
            (model_name(place, setting.model, seed),),
            (setting, number, seed, part),
        )
        for seed in seeds
        for setting, number in jobs
    ]


def samples_name(setting: Setting, number: int, seed: int, part: str) -> str:
    """The job that draws set `number` (from 0) at a setting, of what a part of the data shows."""
    return f"samples of {setting.model} #{setting.key} {number} {seed} {part}"


def sample_stage(place: Place, trained: Stage, setting: Setting, number: int, seed: int, part: str, *, line: int):
    """uint8 samples of a trained model at one setting; other sets have other seeds."""
    plan = place.plan

    def work(folder: Path) -> dict[str, Any]:
        pipeline = _cached_pipeline(setting.model, str(trained.folder), place.device)
        wanted = asked(plan, part, pipeline, setting.model)
        images = draw(pipeline, setting, wanted, seed, number, line=line)
        write_npz(folder / SAMPLES, {"images": to_uint8(images, plan.rounding).numpy()})
        return {}

    shown = {"per_class": plan.per_class, "most": plan.most_samples, "part": part, "data": place.data_digest}
    drawn = {**shown, "rounding": plan.rounding, "set": number, "seed": seed, "file": SAMPLES}
    return place.stage(f"samples-{setting.model}", setting_key(trained, setting, place.device) | drawn, work)


def setting_key(trained: Stage, setting: Setting, device: str) -> dict[str, Any]:
    """What every stage that draws depends on."""
    way = {"sampling": config_to_dict(setting.sampling), "steps": setting.steps}
    return {"code": CODE_VERSION, "model": trained.key, "setting": way, "device": device}


def load_samples(stage: Stage) -> Tensor:
    """uint8 NCHW samples."""
    return torch.from_numpy(npz_array(stage.folder / SAMPLES, "images"))


@lru_cache(maxsize=2)
def _cached_pipeline(model: str, folder: str, device: str) -> Any:
    return load_pipeline(FAMILIES[model], Path(folder), device)
