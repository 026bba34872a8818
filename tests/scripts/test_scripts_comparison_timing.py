"""The times of a comparison, by clocks that are known: what is reckoned is what would have been measured."""

from dataclasses import replace

import pytest
import torch
from comparison import timing
from comparison.sampling import Asked, settings_of
from comparison.settings import comparison
from comparison.timing import FIRST_IMAGES, MANY
from tiny import tiny_pipeline
from tiny_comparison import tiny

WANTED = Asked(torch.zeros(100, dtype=torch.int64))


@pytest.fixture(scope="module")
def plan():
    return comparison("digits")


def clock(*, call=0.0, step=0.0, image=0.0, log=None):
    """A call that takes so many seconds itself, and more for each step, alone and for every image."""

    def clocked(setting, wanted):
        if log is not None:
            log.append(setting.title)
        return call + (step + image * len(wanted)) * setting.steps

    return clocked


def test_many_steps_are_reckoned_from_two_calls_that_other_settings_share(plan):
    settings = settings_of(plan, "diffusion")
    drawn = {call: WANTED for setting in settings for call in timing._calls(setting)}
    assert max(call.steps for call in drawn) == MANY < max(setting.steps for setting in settings)
    assert len(drawn) < 2 * len(settings)
    clocked = clock(call=0.5, step=0.1, image=0.01)
    found = timing._in_turn(clocked, drawn, 3)
    for setting in settings:
        assert timing._reckoned(setting, found) == pytest.approx(10 * clocked(setting, WANTED))


def test_steps_that_are_not_alike_are_timed_whole(plan):
    setting = replace(settings_of(plan, "var")[0], steps=50)
    (call,) = timing._calls(setting)
    assert (call.sampling, call.steps) == (setting.sampling, 50)


@pytest.mark.parametrize(
    ("costs", "images"),
    [
        ({"image": 1.0}, 2 * FIRST_IMAGES),  # an image costs what it costs
        ({"image": 1e-4}, 100),  # too short to be told from noise
        ({"step": 2.0, "image": 0.1}, 100),  # the more images, the cheaper each
    ],
)
def test_no_more_images_are_drawn_at_once_than_make_them_cheaper(plan, costs, images):
    assert len(timing._enough(clock(**costs), settings_of(plan, "diffusion")[0], WANTED)) == images


def test_contenders_take_turns_and_what_takes_long_is_not_repeated(plan):
    var, diffusion = (settings_of(plan, model)[0] for model in ("var", "diffusion"))
    log = []
    timing._in_turn(clock(step=0.06, log=log), {diffusion: WANTED, var: WANTED}, 3)
    assert log == [diffusion.title, var.title, var.title, var.title]
    rows = [{"timed_images": images, "steps": steps} for images, steps in ((32, 4), (100, 50))]
    assert "3 calls, all settings in turn, of 32 to 100 images at once" in timing.in_words(rows, 3)
    assert "2 and 10 were timed and the others reckoned" in timing.in_words(rows, 3)
    assert "reckoned" not in timing.in_words(rows[:1], 3)


def test_operations_of_every_linear_layer_are_counted(monkeypatch):
    """Torch's own are told by its counter; those of another library by us."""
    plan, model = tiny(comparison("digits")), tiny_pipeline()
    setting = settings_of(plan, "var")[0]
    counts = [timing.sampling_flops(model, setting, WANTED)]
    monkeypatch.setattr("var.generation.projection.has_kernel", lambda weight: False)
    counts.append(timing.sampling_flops(tiny_pipeline(), setting, WANTED))
    assert counts[0] == counts[1] > 0
