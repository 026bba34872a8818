"""Faults F16, F21: settings check the types of their fields themselves, at every door alike."""

import ast
import dataclasses
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from annotations import SETTINGS

from diffusion_baseline.classifier.model import NoisyClassifierConfig
from diffusion_baseline.classifier.settings import NoisyClassifierRun
from diffusion_baseline.commands.edit import EditSettings as DiffusionEditing
from diffusion_baseline.imagic import ImagicSettings
from diffusion_baseline.sampling_settings import SamplingSettings as DiffusionSampling
from diffusion_baseline.settings import DiffusionRun
from diffusion_baseline.unet import UNetConfig
from var import checks
from var.autoencoder import AutoencoderConfig
from var.commands.edit import EditSettings
from var.errors import UserError
from var.evaluation.features.classifier import ClassifierConfig
from var.generation.sampling_settings import SamplingSettings
from var.recipes.autoencoder.losses import AutoencoderLosses
from var.recipes.autoencoder.settings import AutoencoderRun
from var.recipes.decoder.losses import DecoderLosses
from var.recipes.decoder.settings import DecoderRun
from var.recipes.transformer.settings import TokenSettings, TransformerRun
from var.recipes.vqvae.losses import ReconstructionLosses, VQVAELosses
from var.recipes.vqvae.settings import VQVAERun
from var.runs.settings import CheckpointSettings, DataSettings, EvaluationSettings, GeneratorSettings
from var.training import CheckpointPolicy, TrainingConfig
from var.transformer import VARConfig
from var.typed import fit
from var.vqvae import VQVAEConfig

ROOT = Path(__file__).parents[1]
TRAINING = TrainingConfig(steps=1)
UNET = {"num_classes": 2}
WHOLE = {
    TrainingConfig: {"steps": 1},
    VQVAEConfig: {},
    VARConfig: {},
    UNetConfig: UNET,
    AutoencoderConfig: {},
    AutoencoderLosses: {},
    DecoderLosses: {},
    ReconstructionLosses: {},
    VQVAELosses: {},
    SamplingSettings: {},
    DiffusionSampling: {},
    ImagicSettings: {},
    EditSettings: {},
    DiffusionEditing: {},
    TokenSettings: {},
    DataSettings: {},
    EvaluationSettings: {},
    CheckpointSettings: {},
    GeneratorSettings: {"training": TRAINING},
    AutoencoderRun: {"training": TRAINING},
    DecoderRun: {"training": TRAINING},
    VQVAERun: {"training": TRAINING},
    TransformerRun: {"training": TRAINING},
    DiffusionRun: {"training": TRAINING, "unet": UNetConfig(**UNET)},
    ClassifierConfig: {},
    NoisyClassifierConfig: {"num_classes": 2},
    NoisyClassifierRun: {"training": TRAINING, "classifier": NoisyClassifierConfig(num_classes=2)},
    CheckpointPolicy: {"folder": Path("x"), "every": 1},
}
"""All classes of settings, with the fields that they need."""


def test_all_settings_are_looked_at_here():
    found = set()
    for folder in ("var", "diffusion_baseline"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and SETTINGS.fullmatch(f"{node.name}.__init__"):
                    bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                    if not bases & {"Protocol", "TypedDict"}:
                        found.add(node.name)
    assert found == {each.__name__ for each in WHOLE} | {"RunSettings"}


def wrong(kind):
    """Values that no field of a `kind` takes."""
    return {
        int: [1.5, True, "3", None, [1], float("nan")],
        float: [float("nan"), float("inf"), True, "0.5", None, [1.0]],
        bool: [1, 0, "yes", None],
        str: [3, None, True, b"x"],
    }.get(kind, [])


CASES = [
    (each, field.name, value)
    for each in WHOLE
    for field in dataclasses.fields(each)
    for value in wrong(field.type if not isinstance(field.type, str) else None)
]


@pytest.mark.parametrize(("settings", "name", "value"), CASES)
def test_a_value_of_another_type_is_refused(settings, name, value):
    with pytest.raises(UserError, match=rf"^{name} must be .*, got .*; ") as error:
        settings(**{**WHOLE[settings], name: value})
    assert "\n" not in str(error.value)


def test_there_are_many_cases():
    assert len(CASES) > 300


@pytest.mark.parametrize("settings", WHOLE)
def test_numbers_of_numpy_become_pythons(settings):
    fields = {
        field.name: field.default
        for field in dataclasses.fields(settings)
        if type(field.default) in (int, float) and field.type in (int, float)
    }
    plain = settings(**{**WHOLE[settings], **fields})
    wrapped = {name: np.int64(value) if type(value) is int else np.float64(value) for name, value in fields.items()}
    again = settings(**{**WHOLE[settings], **wrapped})
    assert again == plain
    assert repr(again) == repr(plain)  # which digests are made of


@pytest.mark.parametrize(
    ("settings", "given", "message"),
    [
        (
            TrainingConfig,
            {"optimizer": "Muon"},
            "must be one of 'adamw', 'muon', got 'Muon'; did you mean 'muon'?",
        ),
        (TrainingConfig, {"optimizer": "sgd"}, "optimizer must be one of 'adamw', 'muon', got 'sgd'; correct it"),
        (TrainingConfig, {"mixed_precision": "fp16"}, "must be one of 'no', 'bf16', got 'fp16'; did you mean 'bf16'?"),
        (TrainingConfig, {"betas": (0.9,)}, "betas must be a list of 2, a finite number, a finite number, got (0.9,)"),
        (VQVAEConfig, {"codebook": "EMA"}, "codebook must be one of 'gradient', 'ema', got 'EMA'; did you mean 'ema'?"),
        (
            VQVAEConfig,
            {"phi": "per_scale"},
            "phi must be a whole number or one of 'per-scale', got 'per_scale'; did you",
        ),
        (VQVAEConfig, {"commitment": float("nan")}, "commitment must be a finite number, got nan; correct it"),
        (SamplingSettings, {"guidance_scale": [1.0, float("inf")]}, "guidance_scale must be a finite number or a list"),
    ],
)
def test_words_that_are_not_understood_are_refused_with_the_nearest(settings, given, message):
    with pytest.raises(UserError) as error:
        settings(**{**WHOLE[settings], **given})
    assert message in str(error.value)


def test_lists_become_tuples_and_whole_numbers_floats():
    config = TrainingConfig(steps=1, betas=[0, np.float32(0.5)], learning_rate=1)
    assert (config.betas, config.learning_rate) == ((0.0, 0.5), 1.0)
    assert type(config.learning_rate) is float
    assert VQVAEConfig(sides=np.array([1, 2, 4]), channel_multipliers=[1, 1]).sides == (1, 2, 4)


def test_what_a_hint_does_not_say_is_not_looked_at():
    @dataclasses.dataclass(frozen=True)
    class Odd:
        path: Path
        kind: Literal[1, "one"]
        array: np.ndarray

        def __post_init__(self):
            checks.fields(self)

    array = np.zeros(2)
    assert Odd("text", 1, array).array is array
    with pytest.raises(UserError, match="kind must be one of 1, 'one', got True"):
        Odd("text", True, array)


def test_huge_numbers_are_no_floats():
    with pytest.raises(TypeError):
        fit(10**400, float)
    with pytest.raises(TypeError):
        fit("1e999", float, texts=True)
