"""A field that a config got later changes no digest, fingerprint, key or saved file of before, while at its default."""

import dataclasses
import functools
import hashlib
import itertools

import pytest
import torch
from comparison.stages import settings_key
from comparison.training import config_to_dict as told_by_the_comparison
from tiny import tiny_diffusion_pipeline, tiny_pipeline, transformer_config, unet_config

from diffusion_baseline import UNet, UNetConfig
from var import VAR
from var.configs import added, config_from_dict, config_to_dict, config_to_text
from var.evaluation import Classifier
from var.evaluation.features.classifier import ClassifierConfig
from var.recipes.transformer.presets import transformer_run
from var.runs.overrides import settings_from_dict, settings_to_dict
from var.sampling.record import fingerprint

FINGERPRINTS = ("4fee60e2f2a683c1", "4dbee2b637f33f9c")
DIGEST = "2d24344d0744918901b5af49f562680c3769b163a18085d7ae7599d71a6ad78e"
CONFIG_FILES = {
    "transformer": "3d6bc9ffa54c0fb202492f34457a4fd3e859b05606706e0a1d94c3da5285f917",
    "unet": "95de3904e21bd3a8c8180728cf3ee45f660fbeee17602bfb086c38911ce3d9c0",
}
KEYS = ("16806eb4b648", "e953c653665f")
LATE = ("vector_width", "sequence_width")
ATTENDING = {"attention_levels": (1,), "head_width": 8}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    size: int = 1
    late: int = added(0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    late: str | None = added(None)
    width: int
    inner: Inner = Inner()
    hidden: int = dataclasses.field(default=3, repr=False)
    made: int = dataclasses.field(default=4, init=False)


def late(config, name):
    """The config with a field chosen that was added."""
    return dataclasses.replace(config, **{name: 3}, **(ATTENDING if isinstance(config, UNetConfig) else {}))


def constant(model):
    """The model with weights that no processor rounds."""
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(1)
    return model


def test_what_was_added_is_told_when_it_is_chosen():
    assert config_to_text(Outer(width=2)) == "Outer(width=2, inner=Inner(size=1), made=4)"
    assert config_to_dict(Outer(width=2)) == {"width": 2, "inner": {"size": 1}, "hidden": 3}
    chosen = Outer(width=2, late="x", inner=Inner(late=5))
    assert config_to_text(chosen) == repr(chosen)
    assert config_to_dict(chosen)["late"] == "x"
    assert config_to_dict(chosen)["inner"] == {"size": 1, "late": 5}
    assert config_from_dict(Inner, config_to_dict(Inner(late=5))) == Inner(late=5)
    assert config_from_dict(Inner, {"size": 1}) == Inner()


@pytest.mark.parametrize("value", [None, {"a": 1}, (1, 2), Inner])
def test_what_is_no_config_keeps_its_representation(value):
    assert config_to_text(value) == repr(value)


@pytest.mark.parametrize("config", [transformer_config(), unet_config(), ClassifierConfig()])
def test_configs_are_named_as_before(config):
    found = config_to_text(config)
    later = (f", {each.name}={each.default!r}" for each in dataclasses.fields(config) if each.metadata)
    assert found == functools.reduce(lambda text, told: text.replace(told, ""), later, repr(config))
    for name in LATE:
        assert name not in found
        if hasattr(config, name):
            assert f"{name}=3" in config_to_text(late(config, name))


def test_fingerprints_and_digests_are_those_of_before():
    """The values were computed before any field was added; a change of one makes strangers of what was saved."""
    pipe, other = tiny_pipeline(), tiny_diffusion_pipeline()
    found = fingerprint(constant(pipe.vqvae), constant(pipe.transformer))
    assert (found, fingerprint(constant(other.unet), settings=other.settings())) == FINGERPRINTS
    assert constant(Classifier(ClassifierConfig())).digest == DIGEST
    for name in LATE:
        for kind, config in ((VAR, transformer_config()), (UNet, unet_config(**ATTENDING))):
            assert fingerprint(constant(kind(late(config, name)))) != fingerprint(constant(kind(config)))


def test_saved_configs_are_those_of_before(tmp_path):
    for name, model in {"transformer": VAR(transformer_config()), "unet": UNet(unet_config())}.items():
        model.save_pretrained(tmp_path / name)
        assert hashlib.sha256((tmp_path / name / "config.json").read_bytes()).hexdigest() == CONFIG_FILES[name]


def test_stages_of_a_comparison_keep_their_keys():
    configs = transformer_config(), unet_config()
    assert tuple(settings_key("x", told_by_the_comparison(config)) for config in configs) == KEYS
    for config, name in itertools.product(configs, LATE):
        assert settings_key("x", told_by_the_comparison(late(config, name))) not in KEYS


def test_a_run_that_does_not_tell_it_has_its_default():
    settings = settings_to_dict(transformer_run("digits").transformer)
    for name in LATE:
        del settings[name]
        assert getattr(settings_from_dict(type(transformer_run("digits").transformer), settings), name) == 0
