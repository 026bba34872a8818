"""`scripts/benchmark_training.py`: its parts on tiny models, and the command itself."""

import json
from pathlib import Path

import benchmark_training
import pytest
import torch
from tiny import transformer_config, vqvae_config

SCRIPTS = Path(__file__).parents[2] / "scripts"

from training_benchmark.report import figures, table  # noqa: E402
from training_benchmark.steps import (  # noqa: E402
    PHASES,
    WAYS,
    Models,
    Step,
    fastest,
    fitting_batch,
    largest_batch,
    matmul_peak,
)

from var import VQVAEConfig  # noqa: E402
from var.errors import UserError  # noqa: E402


@pytest.fixture(scope="module")
def models():
    """A tiny pair."""
    vqvae = vqvae_config(sides=(1, 2, 4), in_channels=3)
    return Models.of(transformer_config(sides=(1, 2, 4), depth=1), vqvae, "cpu")


@pytest.mark.parametrize("name", WAYS)
def test_every_way_trains_and_tells_the_seconds_of_its_phases(models, name):
    step = Step(WAYS[name], models, 2, "cpu")
    before = models.transformer.head.weight.clone()
    seconds = step(0)
    assert tuple(seconds) == PHASES
    assert min(seconds.values()) >= 0
    assert seconds["forward"] > 0
    assert not torch.equal(models.transformer.head.weight, before)


def test_the_fastest_step_of_each_way_counts_and_the_first_does_not():
    times = {"a": iter([1.0, 5.0, 3.0]), "b": iter([9.0, 2.0, 4.0])}
    order = []

    def step(name):
        def call(number):
            order.append((name, number))
            return {"forward": next(times[name])}

        return call

    assert fastest({"a": step("a"), "b": step("b")}, repeats=2) == {"a": {"forward": 3.0}, "b": {"forward": 2.0}}
    assert order == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("a", 2), ("b", 2)]


@pytest.mark.parametrize("capacity", [0, 1, 2, 3, 13, 64, 100, 1000])
def test_the_largest_batch_is_found_to_within_an_eighth(capacity):
    tried = []

    def fits(size):
        tried.append(size)
        return size <= capacity

    found = largest_batch(fits)
    assert found <= capacity
    assert found >= capacity * 7 / 8 - 1 if capacity > 8 else found == capacity
    assert len(tried) < 20
    assert largest_batch(lambda size: True, limit=64) == 64


def test_a_batch_that_fits_is_a_matter_of_gpus(models):
    with pytest.raises(UserError, match="got --device cpu"):
        fitting_batch(WAYS["cached"], models, device="cpu")


def test_the_figures_follow_from_the_seconds():
    seconds = dict.fromkeys(PHASES, 0.1)
    found = figures(seconds, tokens=1000, flops=10**9, peak=4e9, memory=None)
    assert found["seconds"] == pytest.approx(0.5)
    assert found["tokens_per_second"] == pytest.approx(2000)
    assert found["mfu"] == pytest.approx(0.5)
    report = {"depth": 8, "batch": 2, "tokens": 680, "parameters": 1000, "ways": {"online": found, "cached": found}}
    lines = table({**report, "largest_batch": {"online": 4}}).splitlines()
    assert "(1.00x)" in lines[3]
    assert "50.0%" in lines[2]
    assert lines[-1] == "largest batch that fits: online 4"
    assert max(map(len, lines)) <= 120


def test_a_product_of_matrices_takes_time():
    assert matmul_peak("cpu", bf16=False, repeats=1) > 1e6


def test_the_command_writes_a_table_and_json(tmp_path, monkeypatch, capsys):
    # A tokenizer of the published shape takes ten times as long to build as all the rest.
    narrow = VQVAEConfig(base_channels=8, channel_multipliers=(1, 1, 1, 1, 1), norm_groups=4, residual_blocks=1)
    monkeypatch.setattr("var.VQVAEConfig", lambda: narrow, raising=False)
    arguments = ["--depth", "1", "--batch", "1", "--ways", "cached", "--repeats", "1", "--peak", "100"]
    assert benchmark_training.main([*arguments, "--json", str(tmp_path / "a.json")]) == 0
    assert "d1, batch 1, 680 tokens per image" in capsys.readouterr().out
    report = json.loads((tmp_path / "a.json").read_text())
    assert report["ways"]["cached"]["peak_flops"] == 1e11
    assert set(report["ways"]["cached"]["phases"]) == set(PHASES)


def test_the_script_finds_its_parts_and_tells_mistakes_in_a_line(forker, tmp_path):
    # -P, or PYTHONSAFEPATH, leaves out the folder in which the parts lie; the mistake is met after they are imported.
    script = SCRIPTS / "benchmark_training.py"
    assert forker.wait(forker.start("processes.run_script", tmp_path / "output", script, "--depth", "0")) == 2
    (line,) = (tmp_path / "output").read_text().splitlines()
    assert "depth must be at least 1" in line
