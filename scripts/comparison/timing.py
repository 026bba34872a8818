"""The time of every sampler, alone on the machine: all contenders take turns, and the least of each call counts.

A network takes as long for one step as for another, so that of many steps a few are timed and the others reckoned; and
no more images are drawn at once than it takes until more would not make an image cheaper.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from comparison.contenders import Setting
from comparison.families import FAMILIES
from comparison.sampling import Asked, asked, draw, setting_key, settings_of
from comparison.schedule import Place
from comparison.settings import Comparison
from comparison.stages import Stage
from comparison.training import load_pipeline
from var.runs.cost import Operations

FEW, MANY = 2, 10
"""Steps that are timed of a sampler of more than `MANY`, where all its steps are alike."""

FIRST_IMAGES = 4
LONG_CALL, CHEAPER = 0.25, 0.95
"""Seconds from which a call of few steps is enough, if an image costs more than so much of what it did among half."""

LONG_SECONDS = 2.0
"""After so much time a call is not timed once more."""

Clocked = Callable[[Setting, Asked], float]


def timing_stage(place: Place, trained: Mapping[str, Stage], threads: int) -> Stage:
    """Seconds for 1000 images of every model at each of its settings, while nothing else runs here."""
    plan = place.plan
    settings = {model: settings_of(plan, model) for model in trained}

    def work(_: Path) -> dict[str, Any]:
        pipelines = {name: load_pipeline(FAMILIES[name], made.folder, place.device) for name, made in trained.items()}
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            return _timed(place, pipelines, settings)
        finally:
            torch.set_num_threads(before)

    keys = [setting_key(trained[model], each, place.device) for model, mine in settings.items() for each in mine]
    measured = {"images": plan.timing_images, "repeats": plan.timing_repeats, "threads": threads}
    return place.stage("timing", {"settings": keys, **measured, "rules": _rules()}, work)


def _rules() -> list[float]:
    return [FEW, MANY, FIRST_IMAGES, LONG_CALL, CHEAPER, LONG_SECONDS]


def in_words(rows: Sequence[Mapping[str, Any]], repeats: int) -> str:
    """How the times of the `rows` of a report were found."""
    least, most = (f(row["timed_images"] for row in rows) for f in (min, max))
    counts = f"{least}" if least == most else f"{least} to {most}"
    few = f" Of more than {MANY} steps that are alike, {FEW} and {MANY} were timed and the others reckoned."
    return (
        f"Seconds are the least of up to {repeats} calls, all settings in turn, of {counts} images at once: as many as "
        f"make an image no dearer than more would.{few if any(row['steps'] > MANY for row in rows) else ''}"
    )


def _timed(place: Place, pipelines: Mapping[str, Any], settings: Mapping[str, list[Setting]]) -> dict[str, Any]:
    """For each model the columns of its rows, with an entry for each of its settings."""
    # A process's own seconds are not stretched by other programs.
    clock = time.process_time if place.device == "cpu" else time.perf_counter

    def clocked(call: Setting, wanted: Asked) -> float:
        """Seconds of one call, whose images are on the CPU in the end, so that a device has finished."""
        started = clock()
        draw(pipelines[call.model], call, wanted, seed=0)
        return clock() - started

    drawn: dict[Setting, Asked] = {}
    for model, pipeline in pipelines.items():
        wanted = _wanted(place.plan, model, pipeline)
        enough: dict[bool, Asked] = {}  # with guidance and without: it makes another batch of as many images
        for each in settings[model]:
            if each.guided not in enough:
                enough[each.guided] = _enough(clocked, each, wanted)
            drawn |= dict.fromkeys(_calls(each), enough[each.guided])
    seconds = _in_turn(clocked, drawn, place.plan.timing_repeats)
    flops = {call: sampling_flops(pipelines[call.model], call, wanted) for call, wanted in drawn.items()}
    return {
        model: {
            "seconds_per_1000_images": [_reckoned(each, seconds) for each in mine],
            "flops_per_image": [round(_reckoned(each, flops)) for each in mine],
            "timed_images": [len(drawn[_calls(each)[0]]) for each in mine],
        }
        for model, mine in settings.items()
    }


def _wanted(plan: Comparison, model: str, pipeline: Any) -> Asked:
    """What the most images of one timed call are asked to show: one of each class in turn, or the first."""
    wanted = asked(plan, plan.data.reference, pipeline, model)
    places = torch.arange(plan.timing_images)
    if plan.per_class is None:
        return wanted.rows(places % len(wanted))
    return wanted.rows(places % (len(wanted) // plan.per_class) * plan.per_class)


def _calls(setting: Setting) -> tuple[Setting, ...]:
    """The calls that tell the time of a setting: itself, or two of few steps, which other settings may need too."""
    plain = _plain(setting)
    if setting.steps <= MANY or (few := _of_steps(plain, FEW)) is plain:
        return (plain,)
    return few, _of_steps(plain, MANY)


def _plain(setting: Setting) -> Setting:
    """The setting as one call among others."""
    return replace(setting, evaluations=0, headline=False)


def _of_steps(setting: Setting, steps: int) -> Setting:
    """The same with other steps; the setting itself where its steps are not alike."""
    sampling: Any = FAMILIES[setting.model].of_steps(setting.sampling, steps)
    return setting if sampling is None else replace(setting, sampling=sampling, steps=steps)


def _reckoned(setting: Setting, found: Mapping[Setting, float]) -> float:
    """What was found of a setting, or follows from its calls of few steps."""
    first, *more = (found[call] for call in _calls(setting))
    return first + sum(many - first for many in more) * (setting.steps - FEW) / (MANY - FEW)


def _enough(clocked: Clocked, setting: Setting, wanted: Asked) -> Asked:
    """As many images of a call as half so many would make dearer, or as take long; it warms up too."""
    call, count, before = _of_steps(_plain(setting), FEW), min(FIRST_IMAGES, len(wanted)), float("inf")
    while True:
        some = wanted.rows(torch.arange(count))
        seconds = clocked(call, some)
        if seconds < LONG_CALL:
            seconds = min(seconds, clocked(call, some))
        if count == len(wanted) or (seconds > LONG_CALL and seconds / count > CHEAPER * before):
            return some
        before, count = seconds / count, min(2 * count, len(wanted))


def _in_turn(clocked: Clocked, drawn: Mapping[Setting, Asked], repeats: int) -> dict[Setting, float]:
    """The least seconds of each call for 1000 images; what takes long is repeated less."""
    seconds: dict[Setting, list[float]] = {call: [] for call in drawn}
    with tqdm(total=repeats * len(drawn), desc="time all settings in turn") as bar:
        for _ in range(repeats):
            for call, wanted in drawn.items():
                if sum(seconds[call]) < LONG_SECONDS:
                    seconds[call].append(clocked(call, wanted))
                bar.update()
    return {call: min(mine) * 1000 / len(drawn[call]) for call, mine in seconds.items()}


def sampling_flops(pipeline: Any, setting: Setting, wanted: Asked) -> int:
    """Operations to draw one image, of matrix products and convolutions; a multiply-add counts as two."""
    with torch.inference_mode(), Operations() as counter:
        draw(pipeline, setting, wanted.rows(torch.arange(1)), seed=0)
    return counter.get_total_flops()
