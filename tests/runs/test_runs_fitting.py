"""Micro-batches and recomputation that make a step fit into memory, proposed by a plan and taken by `auto`."""

import json
import re
from dataclasses import replace

import pytest
import yaml

from diffusion_baseline.cli import main as diffusion_main
from var.cli import main
from var.errors import UserError
from var.recipes.decoder.losses import DecoderLosses
from var.recipes.decoder.presets import PRESETS as DECODERS
from var.recipes.decoder.presets import decoder_run
from var.runs import memory
from var.training import TrainingConfig

VQVAE_TINY = ["vqvae.base_channels=4", "vqvae.norm_groups=2", "vqvae.vocabulary=16", "vqvae.codebook=gradient"]
VQVAE_TINY += ["vqvae.kmeans_init=false", "vqvae.restart_below=0", "vqvae.width=4", "training.optimizer=adamw"]
TRANSFORMER_TINY = ["transformer.depth=4", "transformer.width=16", "label_drop=0", "transformer.drop_path=0"]
TRANSFORMER_TINY += ["transformer.dropout=0", "tokens.cached=false", "transformer.heads=2"]
TRANSFORMER_TINY += ["tokens.temperature=0"]  # what is drawn depends on the parts of a batch
TRAINING = ["training.steps=4", "training.batch_size=8", "training.log_every=1", "evaluation.every=0"]
AUTO = "training.accumulation=auto"


def train(stage, output, *settings, others=(), data="digits", preset="digits", run=main):
    """The exit code of a training on the CPU."""
    words = [part for setting in settings for part in ("--set", setting)]
    words = [*stage.split(), data, "--preset", preset, "--output", str(output), "--quiet", "--device", "cpu", *words]
    return run([*words, *map(str, others)])


def limit(monkeypatch, size):
    """Let the machine have so much memory that a plan may fill `size` bytes."""
    monkeypatch.setattr(memory, "memory_of", lambda device: None if size is None else int(size / memory.SHARE) + 1)


def planned(stage, output, capsys, *settings, others=(), run=main):
    """What a plan says; and of its memory the bytes in all, and those of activations."""
    assert train(stage, output, *settings, others=["--plan", *others], run=run) == 0
    text = capsys.readouterr().out
    units = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
    found = re.search(r"about ([\d.]+) (\w+) per process.* activations ([\d.]+) (\w+)", text).groups()
    return text, float(found[0]) * units[found[1]], float(found[2]) * units[found[3]]


def losses(folder):
    return [row["loss"] for row in map(json.loads, (folder / "log.jsonl").read_text().splitlines()) if "loss" in row]


def accumulation(folder):
    return yaml.safe_load((folder / "run.yaml").read_text())["training"]["accumulation"]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer") / "run"
    assert train("train vqvae", folder, *VQVAE_TINY, *TRAINING) == 0
    return folder


KINDS = {
    "vqvae": (main, "train vqvae"),
    "transformer": (main, "train transformer"),
    "autoencoder": (main, "train autoencoder"),
    "decoder": (main, "train decoder"),
    "diffusion": (diffusion_main, "train"),
    "classifier": (diffusion_main, "train-classifier"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_auto_cuts_the_batch_of_every_kind_of_run(kind, tmp_path, monkeypatch, capsys):
    run, stage = KINDS[kind]
    how = {"run": run, "others": ["--init", "next-scale/digits"] if kind == "decoder" else []}
    monkeypatch.setitem(DECODERS, "digits", replace(decoder_run("emoji-32"), losses=DecoderLosses(patch_layers=1)))
    limit(monkeypatch, 0)
    text, whole, activations = planned(stage, tmp_path / "new", capsys, **how)
    assert "not even one image at a time" in text
    limit(monkeypatch, whole - 0.45 * activations)
    text, cut, part = planned(stage, tmp_path / "new", capsys, AUTO, **how)
    assert "(1 process x 2 parts x " in text
    assert "fits into" in text
    assert part == pytest.approx(activations / 2, rel=0.01)
    assert cut == pytest.approx(whole - activations / 2, rel=0.01)
    assert not (tmp_path / "new").exists()


def test_recomputation_is_taken_where_not_even_one_image_fits(tmp_path, monkeypatch, capsys):
    limit(monkeypatch, None)
    text, whole, activations = planned("train transformer", tmp_path / "new", capsys, "transformer.depth=4")
    one = activations / int(re.search(r"step +(\d+) images", text).group(1))
    limit(monkeypatch, whole - 0.45 * activations)
    text, *_ = planned("train transformer", tmp_path / "new", capsys, "transformer.depth=4")
    assert "but does with training.accumulation=2 (16 images at a time" in text
    assert "or with training.accumulation=1 gradient_checkpointing=true (32 images at a time" in text
    assert "takes the first" in text
    limit(monkeypatch, whole - activations + 0.8 * one)
    text, *_ = planned("train transformer", tmp_path / "new", capsys, "transformer.depth=4", AUTO)
    assert "x 16 parts x 2)" in text  # recomputed, two at a time take less than one that is kept
    assert "fits into" in text


def test_the_curve_stays_that_of_the_plain_step_and_a_resumed_run_keeps_its_parts(tokenizer, tmp_path, monkeypatch):
    settings = [*TRANSFORMER_TINY, *TRAINING]
    others = ["--vqvae", tokenizer]
    constant = ["training.schedule=constant", "training.warmup=0"]
    assert train("train transformer", tmp_path / "plain", *settings, *constant, others=others) == 0
    monkeypatch.setattr("var.runs.fitting._ways", lambda job, *_: iter([(job.changed(accumulation=4), None)]))
    for name, steps in (("auto", 4), ("stopped", 2)):
        more = [AUTO, *constant, f"training.steps={steps}"]
        assert train("train transformer", tmp_path / name, *settings, *more, others=others) == 0
        assert accumulation(tmp_path / name) == 4
    assert losses(tmp_path / "auto") == pytest.approx(losses(tmp_path / "plain"), rel=1e-5)
    # Another machine, on which everything would fit.
    monkeypatch.setattr("var.runs.fitting._ways", lambda *_: pytest.fail("resolved again"))
    assert train("train transformer", tmp_path / "stopped", *settings, *constant, AUTO, others=others) == 0
    assert accumulation(tmp_path / "stopped") == 4
    assert losses(tmp_path / "stopped") == losses(tmp_path / "auto")


def test_auto_is_refused_in_a_line_where_it_comes_to_nothing(tmp_path, monkeypatch, capsys):
    for size, words in ((10_000, "must find micro-batches that fit, but 1 image at a time"), (None, "does not tell")):
        limit(monkeypatch, size)
        assert train("train vqvae", tmp_path / "new", *TRAINING, AUTO) == 2
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
        assert not (tmp_path / "new").exists()
    with pytest.raises(UserError, match="did you mean 'auto'"):
        TrainingConfig(steps=1, accumulation="atuo")
    with pytest.raises(UserError, match="accumulation must be a number where a loop starts"):
        _ = TrainingConfig(steps=1, accumulation="auto").micro_batches
