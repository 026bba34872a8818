"""What a comparison is made of: everything that moves its numbers, fixed before any test sample is looked at."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from comparison.contenders import CONTENDERS, ModelPlan, chosen_models, shortened
from comparison.data import DataSet, places_in_memory
from comparison.families import FAMILIES
from var.errors import chosen
from var.evaluation.features.classifier import ClassifierConfig
from var.runs.evaluation import data_name, judge_config

# Changes whenever the same settings would give other numbers, so that nothing older is reused.
CODE_VERSION = 5

USUAL_PRESET = "shapes-32"
"""Of data that no preset is called after: small models for small colour pictures."""

JUDGE_STEPS = 900
QUICK = 6  # a quick comparison trains for so many times fewer steps


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Several families on one data set, and how they are judged."""

    data: DataSet
    reference: str  # in words: what distances are measured to
    models: dict[str, ModelPlan]  # by their keys in `FAMILIES`
    judge: ClassifierConfig  # the network whose features give the distance
    second_judge: ClassifierConfig  # of another shape, used for no choice: does it agree?
    judge_steps: int
    per_class: int | None = None  # samples of each class; None: what each image of the reference shows, one sample
    most_samples: int = 1000  # of a set, where they are as the reference is
    generation_seeds: int = 3  # sets of samples of the headline settings, whose spread is told
    rounding: str = "nearest"  # of samples to uint8, one of `var.images.ROUNDINGS`
    timing_images: int = 100  # of one timed call
    timing_repeats: int = 3
    preset: str = ""  # of the models; "" of trained ones
    equal: str = "training seconds on the machine of the presets"  # what the trainings cost alike
    seconds: float | None = None  # of each training, all its stages together; None: as many steps as the presets say
    chosen_on: str = ""  # in words: the images on which the headline settings were chosen; "" is beforehand

    def settings(self) -> dict[str, Any]:
        """All fields, fit for JSON."""
        values = asdict(self)
        return {**values, "data": self.data.source, "parts": values["data"]}


def _digits(plan: Comparison) -> Comparison:
    return replace(
        plan,
        data=replace(plan.data, reference="all"),
        reference="all 1797 real digits",
        judge=ClassifierConfig(name="digits"),
        second_judge=ClassifierConfig(
            name="digits-second", widths=(24, 48, 96, 48), strides=(1, 1, 2, 2), activation="relu"
        ),
        judge_steps=500,
        per_class=100,
    )


ROWS: dict[str, Callable[[Comparison], Comparison]] = {"digits": _digits}
"""What is particular to a data set, by its name without options: the usual comparison -> its own."""


def comparison(
    source: str,
    *,
    preset: str | None = None,
    size: int | None = None,
    models: Sequence[str] = (),
    validated: bool = False,
    quick: bool = False,
    seconds: float | None = None,
) -> Comparison:
    """The comparison on the data `source`, trained by a preset; with a part to validate on if it is `validated`.

    With `seconds` it is one of every family, each of which is trained for so long.

    Raises `UserError` for unknown data, presets and models, and for a size that the preset does not make.
    """
    keys = chosen_models(models, CONTENDERS if seconds is None else FAMILIES)
    known = {name: name for name in FAMILIES[keys[0]].presets() if all(name in FAMILIES[k].presets() for k in keys)}
    preset = chosen(preset or usual_preset(source, size, known), known, "preset of all models that are compared")
    _, height, width = FAMILIES[keys[0]].preset_shape(preset)
    data = DataSet(
        source=source,
        size=(height, width) if size is None else (size, size),
        validated=validated,
        captions=any(FAMILIES[key].shows_captions(preset) for key in keys),
    )
    train = data.part("train")
    changes = {} if seconds is None else {"seconds": seconds, "equal": f"{seconds:g} training seconds on this machine"}
    plan = judged(data, {key: FAMILIES[key].plan(preset, train) for key in keys}, preset=preset, **changes)
    return quickened(plan) if quick else plan


def usual_preset(source: str, size: int | None, known: Sequence[str] | dict[str, str]) -> str:
    """The preset that is called after the data, of that size where there are several; else `USUAL_PRESET`."""
    name = source.partition("?")[0]
    found = [each for each in known if each == name or each.rpartition("-")[0] == name]
    sized = [each for each in found if size is not None and each.endswith(f"-{size}")]
    return [*sized, *found, USUAL_PRESET][0]


def judged(data: DataSet, models: dict[str, ModelPlan], **changes: Any) -> Comparison:
    """The comparison of `models` on the data: judges for their size and channels, and what their row says."""
    judge = judge_config(data.part("train"), data_name(data.source))
    plan = Comparison(
        data=data,
        reference=_in_words(data),
        models=models,
        judge=judge,
        # Wider but for its features, and of another activation.
        second_judge=replace(
            judge,
            name=f"{judge.name}-second",
            widths=(*(4 * width // 3 for width in judge.widths[:-1]), 48),
            activation="relu",
        ),
        judge_steps=JUDGE_STEPS,
        **changes,
    )
    return ROWS.get(data.source.partition("?")[0], lambda usual: usual)(plan)


def _in_words(data: DataSet) -> str:
    kept, total = len(places_in_memory(data, data.reference)), len(data.part(data.reference))
    part = "" if kept == total else f" of the {total}"
    unseen = " that nobody trained on" if data.trained_on else ""
    return f"{kept}{part} images of {data.source}{unseen}"


def quickened(plan: Comparison) -> Comparison:
    """A first look: little training, few samples."""
    models = {
        key: replace(
            model,
            runs={name: shortened(run, max(1, run.training.steps // QUICK)) for name, run in model.runs.items()},
            sweep=model.sweep[:1],
        )
        for key, model in plan.models.items()
    }
    seconds = None if plan.seconds is None else plan.seconds / QUICK
    fewer = {
        "seconds": seconds,
        "judge_steps": max(1, plan.judge_steps * 3 // 10),
        "timing_images": 20,
        "most_samples": 200,
    }
    return replace(plan, models=models, per_class=None if plan.per_class is None else plan.per_class // 5, **fewer)
