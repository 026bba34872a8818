import json
from dataclasses import replace

import pytest

from diffusion_baseline.presets import diffusion_run
from diffusion_baseline.sampling_settings import SamplingSettings as DiffusionSettings
from var.errors import UserError
from var.evaluation.sets.protocols import PROTOCOLS, protocol
from var.generation.sampling_settings import SamplingSettings as VARSettings
from var.images import ROUNDINGS
from var.recipes.transformer.presets import transformer_run


def test_the_official_protocol_is_the_published_one():
    found = protocol("imagenet256-official")
    assert dict(found.sampling) == {"guidance_scale": 2.5, "guidance_schedule": "linear", "top_k": 900, "top_p": 0.96}
    assert (found.count, found.per_class, found.extractor) == (50_000, 50, "inception")
    labels = found.labels()
    assert len(labels) == 50_000
    assert labels[:51] == [0] * 50 + [1]
    assert labels[-1] == 999
    assert found.reference.endswith("256/VIRTUAL_imagenet256_labeled.npz")
    large = protocol("imagenet512-official")
    assert (dict(large.sampling), large.rounding) == (dict(found.sampling), "truncate")
    assert (large.image_size, large.reference.rpartition("/")[2]) == (512, "VIRTUAL_imagenet512.npz")


def test_the_official_protocols_round_as_their_samplers_do():
    assert protocol("imagenet256-official").rounding == "truncate"
    assert protocol("imagenet256-official", paradigm="diffusion").rounding == "half-up"
    assert {found.rounding for found in PROTOCOLS.values()} <= set(ROUNDINGS)
    assert all(found.source for found in PROTOCOLS.values())


@pytest.mark.parametrize("key", PROTOCOLS)
def test_every_protocol_is_a_call_of_its_pipeline_and_fit_for_json(key):
    found = PROTOCOLS[key]
    settings = VARSettings if found.paradigm == "var" else DiffusionSettings
    assert settings(**found.sampling).keywords().items() >= found.sampling.items()
    assert json.loads(json.dumps(found.to_dict())) == found.to_dict()
    assert found.to_dict()["count"] == len(found.labels())


def test_the_digits_are_sampled_as_their_presets_say_but_for_the_guidance_of_sets_of_before():
    found = protocol("digits").sampling
    defaults = replace(transformer_run("digits").sampling, guidance_scale=1.1)
    assert all(getattr(defaults, name) == value for name, value in found.items())
    assert protocol("digits", paradigm="diffusion").sampling["guidance_scale"] == diffusion_run("digits").guidance_scale


def test_an_unknown_protocol_is_refused():
    with pytest.raises(UserError, match=r"unknown protocol 'imagenet256-oficial' for VAR; did you mean"):
        protocol("imagenet256-oficial")
    with pytest.raises(UserError, match="for diffusion"):
        protocol("imagenet256-unguided", paradigm="diffusion")
