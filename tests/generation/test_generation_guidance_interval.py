"""Guidance at some scales only: the same tokens as far as it is the same, and no null half where it is off for good."""

import pytest
import torch
from teacher_forced import TeacherForced
from tiny import tiny_pipeline

from var import Guidance
from var.conditions import Condition
from var.errors import UserError
from var.generation.draws import PerImageDraws
from var.generation.engine import Engine, EnginePass
from var.generation.loop import generate
from var.generation.sampling_settings import SamplingSettings

SIDES = (1, 2, 3, 4, 5)
CALL = {"class_labels": [1, 4, 2], "seeds": [5, 6, 7], "output_type": "pt", "progress": False}


@pytest.fixture(scope="module")
def wide():
    return tiny_pipeline(sides=SIDES)


@pytest.fixture
def rows(monkeypatch):
    """The rows that the blocks compute, scale by scale."""
    seen, hidden = [], EnginePass._hidden

    def spy(self, scale, number, x):
        seen.append(len(x))
        return hidden(self, scale, number, x)

    monkeypatch.setattr(EnginePass, "_hidden", spy)
    return seen


def same(left, right):
    return [torch.equal(*pair) for pair in zip(left.tokens, right.tokens, strict=True)]


def test_the_whole_interval_is_guidance_as_it_was(wide, rows):
    today = wide(**CALL, guidance_scale=3.0)
    assert rows == [6] * 5
    for stop in (None, 5):
        assert all(same(wide(**CALL, guidance_scale=3.0, guidance_interval=(0, stop)), today))
        assert all(same(wide(**CALL, guidance=Guidance(scale=3.0, start=0, stop=stop)), today))
    assert rows == [6] * 25


@pytest.mark.parametrize("compiled", [False, True])
def test_up_to_the_stop_tokens_are_the_guided_ones_and_the_null_half_is_computed_no_further(wide, rows, compiled):
    pipe = tiny_pipeline(sides=SIDES).compile() if compiled else wide
    guided = pipe(**CALL, guidance_scale=6.0, guidance_schedule="constant")
    for stop in (1, 3, 4):
        rows.clear()
        some = pipe(**CALL, guidance=Guidance(scale=6.0, schedule="constant", stop=stop))
        assert rows == [6] * stop + [3] * (5 - stop)  # half the rows: half the work
        assert same(some, guided)[:stop] == [True] * stop
        assert not all(same(some, guided))


def test_before_the_start_tokens_are_the_unguided_ones(wide, rows):
    off = wide(**CALL, guidance_scale=1)
    assert rows == [3] * 5
    rows.clear()
    some = wide(**CALL, guidance_scale=6.0, guidance_schedule="constant", guidance_interval=(2, 4))
    assert rows == [6, 6, 6, 6, 3]  # what the null half remembers of the first two is needed at the third
    assert same(some, off)[:2] == [True, True]
    assert not all(same(some, off))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["labels", "texts"])
def test_the_halved_pass_is_the_teacher_forced_one(wide, kind):
    changes = {"num_classes": 0, "sequence_width": 6} if kind == "texts" else {}
    pipe = tiny_pipeline(sides=SIDES, **changes) if changes else wide
    shown = Condition.of(torch.tensor([0, 3]))
    if changes:
        shown = Condition(None, torch.ones(2, dtype=torch.bool), sequence=torch.randn(2, 5, 6))
    settings = SamplingSettings(guidance_scale=4.0, guidance_interval=(0, 3), top_k=1)
    made = [
        generate(
            forward(pipe.vqvae, pipe.transformer),
            shown,
            guidance=settings.guidance_scales(5),
            sampling=settings,
            draws=PerImageDraws([torch.Generator(), torch.Generator()]),
        )
        for forward in (TeacherForced, Engine)
    ]
    torch.testing.assert_close(made[0].latents[-1], made[1].latents[-1], atol=1e-4, rtol=1e-4)
    assert all(torch.equal(*pair) for pair in zip(made[0].token_maps, made[1].token_maps, strict=True))


def test_the_scales_outside_are_ones():
    linear = SamplingSettings(guidance_scale=3.0, guidance_interval=[1, 3])
    assert linear.guidance_scales(5) == [1.0, 1.5, 2.0, 1.0, 1.0]
    listed = SamplingSettings(guidance_scale=(3.0, 2.0, 4.0), guidance_interval=(0, 1))
    assert listed.guidance_scales(3) == [3.0, 1.0, 1.0]


def test_the_interval_is_told_where_it_is_not_all():
    assert "guidance_interval" not in SamplingSettings().keywords()
    assert SamplingSettings(guidance_interval=(0, 2)).keywords()["guidance_interval"] == (0, 2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"guidance_interval": (3, 2)}, "a scale from 0 on and a later one, got 3 and 2"),
        ({"guidance_interval": (-1, 2)}, "got -1 and 2"),
        ({"guidance_interval": (0, 6)}, "must lie within 5 scales, got 0 and 6"),
        ({"guidance_interval": (5, None)}, "must lie within 5 scales, got 5 and None"),
        ({"guidance_interval": (0.5, 2)}, "guidance_interval must be a list of 2, a whole number"),
        ({"guidance": Guidance(start=0.25)}, "guidance_interval must be a list of 2, a whole number"),
        ({"guidance": Guidance(stop=9)}, "must lie within 5 scales, got 0 and 9"),
        ({"guidance": Guidance(scale=2), "guidance_scale": 3.0}, "guidance says guidance_scale = 2.0, got 3.0 beside"),
        ({"guidance": Guidance(stop=2), "guidance_interval": [0, 3]}, "got \\[0, 3\\] beside it"),
        ({"guidance": Guidance(schedule="constant"), "guidance_schedule": "linear"}, "leave one out"),
        ({"guidance": Guidance(classifier=object())}, "classifier"),
        ({"guidance": Guidance(classifier_scale=2)}, "classifier"),
    ],
)
def test_what_cannot_be_is_refused(wide, given, message):
    with pytest.raises(UserError, match=message):
        wide(**CALL, **given)


def test_the_same_said_twice_is_no_contradiction(wide):
    twice = wide(**CALL, guidance=Guidance(scale=2, stop=3), guidance_scale=2, guidance_interval=[0, 3])
    assert all(same(twice, wide(**CALL, guidance_scale=2.0, guidance_interval=(0, 3))))
