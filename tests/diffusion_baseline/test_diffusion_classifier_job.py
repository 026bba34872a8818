"""`python -m diffusion_baseline train-classifier` as a user calls it, and what it minimises."""

import argparse
import json
import math
from pathlib import Path

import pytest
import torch
from tiny import tiny_classifier

from diffusion_baseline.classifier.job import NoisyClassifierJob
from diffusion_baseline.classifier.model import NoisyClassifier
from diffusion_baseline.classifier.presets import PRESETS, classifier_run
from diffusion_baseline.classifier.task import NoisyClassifierTask
from diffusion_baseline.cli import main
from diffusion_baseline.presets import diffusion_run
from var.conditions import Condition
from var.data.batches import Batch
from var.errors import UserError
from var.runs.overrides import settings_from_dict, settings_to_dict

TINY = [
    "training.steps=4",
    "training.batch_size=8",
    "training.log_every=2",
    "evaluation.every=2",
    "evaluation.samples=20",
    "checkpoints.every=2",
    "classifier.num_timesteps=20",
    "classifier.base_channels=8",
    "classifier.embedding_width=16",
    "classifier.norm_groups=4",
]


def train(output, *others, settings=()):
    options = [part for setting in (*TINY, *settings) for part in ("--set", setting)]
    command = ["train-classifier", "digits", "--preset", "digits", "--output", str(output), "--device", "cpu"]
    return main([*command, "--quiet", *options, *others])


def test_a_run_leaves_a_classifier_and_its_story(tmp_path, capsys):
    assert train(tmp_path / "run") == 0
    assert "generate --classifier" in capsys.readouterr().out
    classifier = NoisyClassifier.from_pretrained(tmp_path / "run")
    assert classifier.config.class_names == tuple("0123456789")
    assert classifier.config.num_timesteps == 20
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "evaluation_loss" in row] == [2, 4]
    assert [row["step"] for row in rows if "accuracy" in row] == [2, 4]
    assert train(tmp_path / "run") == 0
    assert "is a finished run of 4 steps" in capsys.readouterr().out
    fine = ["training.steps=1", "training.learning_rate=1e-7", "training.ema_decay=0", "evaluation.every=0"]
    assert train(tmp_path / "fine", "--init", str(tmp_path / "run"), settings=fine) == 0
    again = NoisyClassifier.from_pretrained(tmp_path / "fine")
    torch.testing.assert_close(again.head.weight, classifier.head.weight, rtol=0, atol=1e-5)
    assert train(tmp_path / "no", "--init", str(tmp_path / "run"), settings=["classifier.schedule=linear"]) == 2
    assert "classifier.schedule is fixed by the weights to start from" in capsys.readouterr().err


def job(data, name, *assignments):
    arguments = argparse.Namespace(data=data, preset=name, init=None, files=[], assignments=assignments, seed=None)
    vars(arguments).update(quiet=True, on_bad_image="error", plan=True, output=Path("none"))
    return NoisyClassifierJob.of(arguments)


def test_the_plan_counts_what_is_trained():
    found = job("shapes", "shapes-32")
    plan = found.plan(processes=1)
    model = NoisyClassifier(found.settings.classifier)
    assert plan.parameters == sum(weight.numel() for weight in model.parameters())
    assert "50,000 images in 12 classes" in plan.text()


def test_what_the_data_give_is_not_replaced_without_a_word():
    with pytest.raises(UserError, match=r"classifier\.num_classes is given by the data, 10, got 7; leave it out"):
        job("digits", "digits", "classifier.num_classes=7")
    with pytest.raises(UserError, match="unknown classifier preset 'digit'; did you mean 'digits'"):
        job("digits", "digit")


@pytest.mark.parametrize("name", PRESETS)
def test_all_presets_return_from_a_run_file_and_are_for_the_noise_of_the_network_of_their_name(name):
    chosen, other = classifier_run(name), diffusion_run(name)
    assert settings_from_dict(type(chosen), settings_to_dict(chosen)) == chosen
    for fact in ("schedule", "num_timesteps", "zero_terminal"):
        assert getattr(chosen.classifier, fact) == getattr(other, fact)
    for fact in ("image_size", "image_channels", "num_classes"):
        assert getattr(chosen.classifier, fact) == getattr(other.unet, fact)


def test_the_loss_of_a_classifier_that_knows_nothing_is_that_of_a_guess():
    classifier = tiny_classifier()
    with torch.no_grad():
        classifier.head.weight.zero_()
        classifier.head.bias.zero_()
    images = torch.rand(6, 1, 4, 8) * 2 - 1
    batch = Batch(images, Condition.of(torch.arange(6) % 5), torch.arange(6))
    task = NoisyClassifierTask(classifier)
    loss, numbers = task.loss(classifier, batch, torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(math.log(5))
    assert float(numbers["accuracy"]) == pytest.approx(2 / 6)
