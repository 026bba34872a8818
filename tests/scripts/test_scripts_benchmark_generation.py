"""The parts of the generation benchmark that need no large model."""

import benchmark_generation
import benchmark_training
import pytest
import torch
from benchmarking.machine import machine
from benchmarking.measuring import fastest, watch
from generation_benchmark.agreement import parting
from generation_benchmark.table import table
from tiny import tiny_transformer, tiny_vqvae

from var import VARPipeline

CASE = {
    "batch": 8,
    "dtype": "float32",
    "same_tokens": {"greedy": True, "official stream": False},
    "seconds": {"compiled": 4.0, "engine": 2.0, "official": 5.0},
    "decoder_seconds": {"engine": 1.0, "official": 2.5},
    "sampling_seconds": {"engine": 0.01},
    "noticing_seconds": {"engine": 0.002, "compiled": 0.03},
    "milliseconds_by_scale": [1.0, 20.0],
    "operators": {"compiled": 900, "engine": 300, "official": 5600},
    "memory_mib": {"compiled": 10.0, "engine": None, "official": 12.0},
}


def test_contenders_take_turns_and_the_least_time_counts(monkeypatch):
    calls, times = [], iter([0.0, 3.0, 10.0, 11.0, 20.0, 22.0, 30.0, 35.0])
    monkeypatch.setattr("benchmarking.measuring.clock", lambda device: next(times))
    found = fastest({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, "cpu")
    assert calls == ["a", "b", "a", "b"]
    assert found == {"a": 2.0, "b": 1.0}


def test_operators_that_move_no_data_are_not_counted():
    x = torch.ones(2, 3)
    count, _ = watch(lambda: (x + x).T.reshape(2, 3)[0].unsqueeze(0), "cpu")
    assert count == 2  # the sum, and the copy of the reshape


def test_the_memory_of_a_call_is_what_it_takes_more():
    _, little = watch(lambda: None, "cpu")
    _, much = watch(lambda: torch.ones(64, 2**20), "cpu")
    if little is None or much is None:
        pytest.skip("this system does not tell the peak of a process")
    assert little < 50
    assert 250 < much < 350


def test_the_table_compares_with_the_official_code_and_says_what_differs():
    text = table(CASE)
    assert max(len(line) for line in text.splitlines()) <= 100
    engine = next(line for line in text.splitlines() if line.startswith("engine"))
    assert "4.000" in engine  # images a second
    assert "(2.50x)" in engine
    assert "greedy identical, official stream DIFFERENT" in text
    assert "decoder: engine 1000.0 ms, official 2500.0 ms (2.50x)" in text
    assert "noticing changed weights: engine 2.0 ms (0.10% of a call), compiled 30.0 ms (0.75% of a call)" in text
    without = table({**CASE, "seconds": {"engine": 4.0, "compiled": 2.0}, "same_tokens": {}})
    assert "times faster than engine" in without
    assert "tokens as" not in without


def test_the_share_of_the_floor_is_told_where_it_is_known():
    case = {**CASE, "batch": 64, "seconds": {"compiled": 0.16, "engine": 0.1}}
    assert "engine 80%" in table(case, 16, "NVIDIA H200")
    assert "share" not in table(case, 16, "NVIDIA H100")
    assert "share" not in table(case, 20, "NVIDIA H200")


def test_the_machine_is_named():
    named = machine("cpu", 1)
    assert named["threads"] == 1
    assert named["torch"] == torch.__version__
    assert len(named["device"]) > 3


def test_a_wrong_checkout_is_one_line(tmp_path, capsys):
    assert benchmark_generation.main(["--official", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "checkout of the official code" in error


@torch.no_grad()
def test_where_greedy_tokens_part_is_told_with_the_gap_of_their_logits():
    transformer = tiny_transformer()
    transformer.head.weight.normal_()
    pipeline, labels, guidance = VARPipeline(tiny_vqvae(), transformer), torch.tensor([1, 4]), [1.0, 1.5, 2.0]
    ours = pipeline(labels.tolist(), guidance_scale=guidance, top_k=1, seeds=[0, 1], output_type="pt").tokens
    assert parting(pipeline, labels, guidance, ours, [token_map.flatten(1) for token_map in ours]) is None
    null = torch.full_like(labels, 5)
    for scale, where in enumerate(transformer.scales.slices()):
        inputs = pipeline.vqvae.teacher_inputs(ours)
        logits = transformer(null, inputs).lerp(transformer(labels, inputs), guidance[scale])[1, where]
        theirs = [token_map.flatten(1).clone() for token_map in ours]
        # Greedy tokens are the likeliest: put the second likeliest in the place of one of them.
        best, second = logits[-1].topk(2).indices.tolist()
        assert theirs[scale][1, -1] == best
        theirs[scale][1, -1] = second
        for later in theirs[scale + 1 :]:
            later.fill_(0)
        found = parting(pipeline, labels, guidance, ours, theirs)
        assert (found["scale"], found["tokens"], found["images"]) == (scale, 1, 1)
        assert found["widest_gap"] == pytest.approx(float(logits[-1, best] - logits[-1, second]), rel=1e-4)
        assert found["logit_std"] == pytest.approx(float(logits.std()), rel=1e-4)


def test_the_table_tells_where_they_part():
    case = {**CASE, "parting": {"scale": 9, "tokens": 2, "images": 1, "widest_gap": 1.2e-5, "logit_std": 4.0}}
    line = "greedy tokens part at scale 9: 2 tokens, each two with logits within 1.2e-05 (spread of all: 4.0)"
    assert line in table(case)
    assert max(len(line) for line in table(case).splitlines()) <= 100


@pytest.mark.parametrize("option", ["--repeats", "--batch", "--threads"])
@pytest.mark.parametrize("script", [benchmark_generation, benchmark_training])
def test_counts_are_positive(script, option, capsys):
    assert script.main([option, "0"]) == 2
    assert "expected a whole number from 1 on, got '0'" in capsys.readouterr().err


def test_the_official_code_is_not_timed_without_a_checkout(monkeypatch, capsys):
    monkeypatch.setattr("generation_benchmark.models.build", lambda *_: pytest.fail("built before it was refused"))
    for named in (["official"], ["engine", "official"]):
        assert benchmark_generation.main(["--contenders", *named]) == 2
        assert "from a checkout of it, got none; add --official PATH, or leave it out" in capsys.readouterr().err
