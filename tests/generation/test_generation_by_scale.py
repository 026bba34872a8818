"""Rules of drawing that differ by scale: one for all is a list of equals, and each scale is drawn by its own."""

import argparse

import pytest
import torch
from matrix_rows import OFFICIAL, Rows
from tiny import tiny_pipeline

from var.command_line.field_options import add_field_options, settings_of
from var.conditions import Condition
from var.errors import UserError
from var.generation.draws import PerImageDraws
from var.generation.engine import Engine
from var.generation.loop import generate
from var.generation.sampling_settings import SamplingSettings
from var.sampling.numbers import plain

CALL = {"class_labels": [1, 4, 2], "seeds": [5, 6, 7], "output_type": "pt", "progress": False}
RULES = [
    ("temperature", 0.5),
    ("top_k", 3),
    ("top_p", 0.6),
    ("min_p", 0.3),
    ("smooth", True),
    ("spatial_guidance", 3.0),
]


def same(left, right):
    return [torch.equal(*pair) for pair in zip(left.tokens, right.tokens, strict=True)]


@pytest.mark.parametrize(("name", "value"), RULES)
def test_each_scale_is_drawn_by_its_own_rule(pipe, name, value):
    free, every = pipe(**CALL), pipe(**CALL, **{name: value})
    off = getattr(SamplingSettings(), name)
    listed = pipe(**CALL, **{name: [value] * 3})
    assert all(same(listed, every))
    assert torch.equal(listed.images, every.images)
    last = pipe(**CALL, **{name: [off, off, value]})
    assert same(last, free)[:2] == [True, True]
    assert not torch.equal(last.images, free.images)
    assert same(pipe(**CALL, **{name: (value, off, off)}), every)[0]


def test_what_is_listed_can_be_set_aside():
    settings = SamplingSettings(guidance_scale=(1.0, 2.0), top_k=(0, 5), temperature=0.5, guidance_interval=(1, None))
    assert settings.unlisted() == SamplingSettings(temperature=0.5, guidance_interval=(1, None))


def test_all_may_be_listed_at_once_and_as_arrays(pipe):
    lists = {"temperature": torch.tensor([1.0, 1.0, 0.5]), "top_k": [0, 2, 0], "smooth": [False, False, True]}
    out = pipe(**CALL, **lists, guidance_scale=[1, 2, 1])
    lists = {name: tuple(plain(values)) for name, values in lists.items()}
    again = pipe(**CALL, sampling=SamplingSettings(**lists, guidance_scale=(1.0, 2.0, 1.0)))
    assert torch.equal(out.images, again.images)


def test_one_scale_has_numbers_only():
    settings = SamplingSettings(temperature=[1, 0.9], top_k=(5, 6), smooth=(True, False), min_p=0.1)
    assert settings.at(1, 2) == SamplingSettings(temperature=0.9, top_k=6, smooth=False, min_p=0.1)
    assert settings.keywords()["temperature"] == (1.0, 0.9)  # as records tell it


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"temperature": [1.0, 0.9]},
            "temperature must be one for all or a list, one for each of 3 scales, got 2",
        ),
        ({"top_k": [1] * 4}, "top_k must be one for all or a list, one for each of 3 scales, got 4"),
        ({"top_p": []}, "top_p must be one for all or a list, one for each of 3 scales, got 0"),
        ({"min_p": (0.5,)}, "min_p must be one for all or a list, one for each of 3 scales, got 1"),
        ({"smooth": [True]}, "smooth must be one for all or a list, one for each of 3 scales, got 1"),
        ({"temperature": [1, 0, 1]}, r"temperature must be positive, got \(1.0, 0.0, 1.0\)"),
        ({"top_k": [1, -1, 1]}, "top_k must be a count of codes"),
        ({"top_p": [0.5, 1.5, 1]}, "top_p is a probability and must lie in"),
        ({"temperature": [1, "hot", 1]}, "temperature must be a finite number or a list, each a finite number"),
        ({"top_k": [1.5, 1, 1]}, "top_k must be a whole number or a list"),
        ({"smooth": [1, 0, 0]}, "smooth must be True or False or a list"),
    ],
)
def test_bad_lists_are_refused_before_any_work(own_pipe, monkeypatch, given, message):
    monkeypatch.setattr(type(own_pipe), "_prepare", lambda _: pytest.fail("work was done"))
    with pytest.raises(UserError, match=message):
        own_pipe(**CALL, **given)


@pytest.mark.parametrize(
    ("argv", "settings"),
    [
        ("--temperature 1,1,.9 --top-k 3 4 5", {"temperature": (1, 1, 0.9), "top_k": (3, 4, 5)}),
        ("--guidance 1,2,1 --smooth", {"guidance_scale": (1, 2, 1), "smooth": True}),
        ("--smooth false,true,true --min-p .1", {"smooth": (False, True, True), "min_p": 0.1}),
    ],
)
def test_a_command_line_takes_them(argv, settings):
    parser = argparse.ArgumentParser()
    add_field_options(parser, SamplingSettings)
    assert settings_of(SamplingSettings, parser.parse_args(argv.split())) == SamplingSettings(**settings)


@torch.no_grad()
def test_a_list_that_ends_in_ones_is_exact_at_935_rows_instead_of_1360():
    pipe = tiny_pipeline(sides=OFFICIAL, depth=1)
    engine = Engine(pipe.vqvae, pipe.transformer)

    class Everywhere:  # the same with the null half to the end
        accumulator, passes = engine.accumulator, engine.passes

        def begin(self, condition, *, guide):
            started = engine.begin(condition, guide=guide)
            self.logits = lambda scale, latent, guidance, drawn: started.logits(scale, latent, guidance or 1.0, drawn)
            return self

    made, rows = [], []
    for forward in (engine, Everywhere()):
        with Rows((32, 96)) as counted:
            made.append(
                generate(
                    forward,
                    Condition.of(torch.tensor([3])),
                    guidance=[2.0] * 8 + [1.0, 1.0],
                    sampling=SamplingSettings(),
                    draws=PerImageDraws([torch.Generator().manual_seed(3)]),
                )
            )
        rows.append(counted.seen)
    assert rows == [935, 1360]
    assert all(torch.equal(*pair) for pair in zip(made[0].token_maps, made[1].token_maps, strict=True))
