"""A rule about tokens from outside: one function and one field, and calls and command lines have it."""

import argparse
from dataclasses import dataclass, field

import pytest
import torch

from var.command_line.field_options import add_field_options, settings_of
from var.generation import logits
from var.generation.logits import Candidates
from var.generation.sampling_settings import SamplingSettings
from var.sampling.numbers import updated


@dataclass(frozen=True, slots=True, kw_only=True)
class WithBan(SamplingSettings):
    banned: int = field(default=0, metadata={"help": "codes from this one on are never drawn; 0: none"})


def ban(choice, settings):
    if not settings.banned:
        return choice
    codes = torch.arange(choice.logits.shape[-1]) if choice.codes is None else choice.codes
    return Candidates(choice.logits.masked_fill(codes >= settings.banned, -torch.inf), choice.codes)


@pytest.fixture(autouse=True)
def rule(monkeypatch):
    monkeypatch.setattr(logits, "RULES", [ban, *logits.RULES])


def test_a_call_takes_it_with_the_others(pipe):
    settings = {"seeds": list(range(8)), "output_type": "pt", "progress": False, "temperature": 3.0}
    free = pipe(sampling=WithBan(), **settings)
    held = pipe(sampling=WithBan(banned=3), **settings)
    assert max(int(token_map.max()) for token_map in free.tokens) > 3
    assert max(int(token_map.max()) for token_map in held.tokens) == 2
    greedy = pipe(sampling=WithBan(banned=3), top_k=1, **settings)
    again = pipe(sampling=WithBan(banned=3, top_k=1), **settings)
    assert all(torch.equal(left, right) for left, right in zip(greedy.tokens, again.tokens, strict=True))


def test_a_command_line_is_made_of_it():
    parser = argparse.ArgumentParser()
    add_field_options(parser, WithBan)
    settings = settings_of(
        WithBan, parser.parse_args(["--banned", "5", "--min-p", "0.1", "--guidance", "3", "--smooth"])
    )
    assert settings == WithBan(banned=5, min_p=0.1, guidance_scale=3.0, smooth=True)
    assert "0: none (default 0)" in " ".join(parser.format_help().split())


def test_records_list_it_where_it_is_asked_for():
    before = {"guidance_scale", "guidance_schedule", "temperature", "top_k", "top_p", "smooth"}
    assert set(SamplingSettings().keywords()) == before  # as images of before say of themselves
    assert set(WithBan(banned=5, min_p=0.1).keywords()) == before | {"banned", "min_p"}
    told = SamplingSettings(top_k=3, min_p=0.1)
    assert updated(SamplingSettings(), SamplingSettings, told.keywords()) == told


def test_every_field_is_a_keyword_that_type_checkers_know():
    from var.generation.sampling_settings import SamplingKeywords

    assert set(SamplingKeywords.__annotations__) == set(SamplingSettings.__dataclass_fields__)
