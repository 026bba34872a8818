"""Each of six faults in small real runs is named, and nothing is said against three sound ones."""

import json
import shutil

import pytest
import torch
from examined_runs import decoder_run_on, shuffled_digits, tokenizer_run, transformer_run_on

from var import VQVAE
from var.cli import main
from var.doctor import examine
from var.errors import UserError
from var.foreign.weights import opened_tensors, save_tensors
from var.recipes.fine_tuning import load_start
from var.recipes.transformer.token_cache_files import _digest

QUIET = {"overfit_steps": 0, "device": "cpu", "progress": False}


@pytest.fixture(autouse=True)
def _fewer_images(monkeypatch):
    """A quarter of the images that are looked at, to be quick."""
    monkeypatch.setattr("var.doctor.patient.LOOKED_AT", 100)
    monkeypatch.setattr("var.doctor.labels.IMAGES", 300)
    monkeypatch.setattr("var.doctor.labels.JUDGE_STEPS", 10)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A sound run of stage 1."""
    return tokenizer_run(tmp_path_factory.mktemp("runs") / "tokenizer", steps=30)


@pytest.fixture(scope="module")
def transformer(tokenizer):
    """A sound run of stage 2."""
    return transformer_run_on(tokenizer, tokenizer.with_name("transformer"), steps=60)


@pytest.fixture
def planted(transformer, tmp_path):
    """A copy of the sound run of stage 2, to be spoilt."""
    return shutil.copytree(transformer, tmp_path / "run")


def faults(run, **given):
    return {each.key for each in examine(run, **{**QUIET, **given}).faults}


def test_nothing_is_said_against_sound_runs(tokenizer, transformer, tmp_path):
    first = examine(tokenizer, **{**QUIET, "overfit_steps": 15})
    assert (first.sound, first.kind, first.steps) == (True, "vqvae", 30)
    assert first.measured["overfit"]["own"] < 0.5  # of the squared error on ten images
    second = examine(transformer, **{**QUIET, "overfit_steps": 80})
    assert (second.sound, second.kind, second.steps) == (True, "transformer", 60)
    assert second.measured["overfit"]["own"] < 0.5
    assert all(row["cache_agrees"] == 1 for row in second.measured["scales"])
    third = examine(decoder_run_on(transformer, tmp_path / "decoder"), **QUIET)
    assert (third.sound, third.kind, third.steps) == (True, "decoder", 20)
    assert third.looked_at == ("schedule", "tokenizer", "codebook", "likelihood", "curve")
    assert (second.left_out, third.left_out) == ({}, {})
    # Merely short: not a fault, even where next to nothing has been learned.
    short = examine(transformer_run_on(tokenizer, tmp_path / "short", steps=3, log_every=1), **QUIET)
    assert short.sound
    assert {each.severity for report in (first, second, third, short) for each in report.findings} <= {"remark"}


def test_what_a_run_has_nothing_of_is_not_called_looked_at(planted):
    shutil.rmtree(planted / "tokens")
    report = examine(planted, **QUIET)
    assert "cache" not in report.looked_at
    assert report.left_out == {"cache": "no tokens were kept"}
    assert "not looked at: cache (no tokens were kept)" in report.text()


def test_why_a_subject_is_left_out(planted, monkeypatch):
    monkeypatch.setattr("var.doctor.labels.FEWEST", 10_000)
    assert examine(planted, **QUIET).left_out == {"labels": "fewer than 10000 images"}
    strange = examine(planted, **QUIET, data=shuffled_digits()).left_out
    assert strange["cache"] == "the data are not those of the training"
    assert strange["held-out images"] == "data given in Python have none"
    (planted / "finished.json").unlink()
    shutil.rmtree(planted / "transformer")
    assert examine(planted, **QUIET).left_out["likelihood"] == "no transformer"
    shutil.rmtree(planted / "vqvae")
    left = examine(planted, **QUIET).left_out
    assert {left[name] for name in ("codebook", "cache")} == {"no tokenizer"}
    assert left["tokenizer"] == "none is there"


def test_what_stands_on_a_fault_is_not_looked_at(planted):
    (planted / "vqvae" / "model.safetensors").write_bytes(b"")
    report = examine(planted, **QUIET)
    assert {each.key for each in report.faults} == {"tokenizer"}
    assert report.left_out["codebook"] == "the tokenizer cannot be used"
    assert report.left_out["cache"] == "after the fault of tokenizer"
    assert not {*report.left_out} & {*report.looked_at}


def test_another_tokenizer_is_named(planted, tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        VQVAE(VQVAE.from_pretrained(planted / "vqvae").config).save_pretrained(planted / "vqvae")
    assert "tokenizer" in faults(planted)
    # Where its digest is not told, by what the model makes of its tokens.
    (planted / "tokens" / "cache.json").unlink()
    told = (planted / "run.yaml").read_text().splitlines(keepends=True)
    (planted / "run.yaml").write_text("".join(line for line in told if "  tokenizer: " not in line))
    shutil.rmtree(planted / "tokens")
    assert faults(planted) & {"weights", "tokenizer"}


def test_shuffled_labels_are_named(tokenizer, tmp_path):
    run = transformer_run_on(tokenizer, tmp_path / "run", steps=10, data=shuffled_digits())
    report = examine(run, data=shuffled_digits(), **QUIET)
    assert [each.key for each in report.faults] == ["labels"]
    assert "say nothing about the images" in report.faults[0].said
    # The data are in order now: what was trained was not.
    assert faults(run) == {"labels"}


@pytest.mark.parametrize("how", ["of others", "random", "cut"])
def test_a_broken_token_cache_is_named(planted, how):
    (part, *_) = sorted((planted / "tokens").glob("part-*.safetensors"))
    if how == "cut":
        part.write_bytes(part.read_bytes()[:-100])
    else:
        with opened_tensors(part) as file:
            told, tokens = json.loads(file.metadata()["cache"]), file.load("tokens").clone()
        tokens = tokens.roll(7, 1) if how == "of others" else torch.randint_like(tokens, 32)
        save_tensors(part, {"tokens": tokens}, {"cache": json.dumps({**told, "digest": _digest(tokens)})})
    assert faults(planted) == {"cache"}


def test_a_learning_rate_of_a_tenth_is_named_in_both_stages(tokenizer, tmp_path):
    runs = [tokenizer_run(tmp_path / "first", steps=4, log_every=2, learning_rate=0.1)]
    runs += [transformer_run_on(tokenizer, tmp_path / "second", steps=4, log_every=2, learning_rate=0.1)]
    for run in runs:
        report = examine(run, **QUIET)
        assert "learning_rate" in {each.key for each in report.faults}
        (finding,) = (each for each in report.faults if each.key == "learning_rate")
        assert "0.1 is too high" in finding.said
        assert "training.learning_rate=0.0" in finding.remedy


def test_a_decoder_that_was_spoilt_is_named_and_an_unfinished_one_refused(transformer, tmp_path):
    run = decoder_run_on(transformer, tmp_path / "decoder", steps=8, learning_rate=1.0, ema_decay=0.0)
    (fault,) = (each for each in examine(run, **QUIET).faults if each.key == "tokenizer")
    assert "worse than the mean image" in fault.said
    assert "--init" in fault.remedy
    for missing in ("transformer/config.json", "pipeline_index.json"):
        (run / missing).unlink()
        with pytest.raises(UserError, match=f"without {missing}, .*; run the same command again to finish it"):
            examine(run, **QUIET)


def test_an_inference_schedule_of_other_sides_is_named(planted):
    for part in ("vqvae", "transformer"):  # as many tokens and phi, so that everything loads
        place = planted / part / "config.json"
        config = json.loads(place.read_text())
        place.write_text(json.dumps({**config, "sides": [1, [1, 2], 2], "repeats": [2, 2, 3]}))
    assert faults(planted) == {"schedule"}
    for part in ("vqvae", "transformer"):
        place = planted / part / "config.json"
        place.write_text(json.dumps({**json.loads(place.read_text()), "sides": [1, 2, 3, 4]}))  # repeats do not fit
    assert "schedule" in faults(planted)


def test_a_collapsed_codebook_is_named(tokenizer, tmp_path):
    run = shutil.copytree(tokenizer, tmp_path / "run")
    vqvae = VQVAE.from_pretrained(run)
    with torch.no_grad():
        vqvae.quantizer.codebook.weight[2:] = 1e3  # nobody is near them
    vqvae.save_pretrained(run)
    assert faults(run) == {"codebook"}
    second = transformer_run_on(run, tmp_path / "second", steps=3, log_every=1)
    assert faults(second) == {"codebook"}


def test_the_command_says_it_in_words_and_by_its_exit_code(transformer, planted, tmp_path, capsys):
    words = ["doctor", "--quiet", "--device", "cpu", "--overfit-steps", "0", "--json", str(tmp_path / "found.json")]
    assert main([*words, str(transformer)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no fault was found: the training is sound"
    before = {path: path.read_bytes() for path in planted.rglob("*") if path.is_file()}
    next((planted / "tokens").glob("part-*")).unlink()
    assert main([*words, str(planted)]) == 1
    out = capsys.readouterr().out
    assert "FAULT cache" in out
    assert "-> delete the folder `tokens`" in out
    assert out.splitlines()[-1] == "1 fault: cache"
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["sound"], [each["key"] for each in found["findings"] if each["severity"] == "fault"]) == (
        False,
        ["cache"],
    )
    # Nothing of the run is changed, mended or set aside.
    after = {path: path.read_bytes() for path in planted.rglob("*") if path.is_file()}
    assert set(before) - set(after) == {next(path for path in before if path.name.startswith("part-"))}
    assert all(before[path] == content for path, content in after.items())


def test_a_learning_rate_that_teaches_nothing_is_named(tokenizer, tmp_path):
    run = transformer_run_on(tokenizer, tmp_path / "run", steps=4, log_every=2, learning_rate=1e-9)
    (fault,) = examine(run, **QUIET).faults
    assert (fault.key, "1e-09 is too low" in fault.said) == ("learning_rate", True)


def test_what_a_finished_run_lacks_is_named(planted, tokenizer, tmp_path):
    shutil.rmtree(planted / "transformer")
    (fault,) = examine(planted, **QUIET).faults
    assert (fault.key, "config.json is missing" in fault.measured) == ("weights", True)
    shutil.rmtree(planted / "vqvae")
    assert faults(planted) == {"tokenizer"}
    bare = shutil.copytree(tokenizer, tmp_path / "bare", ignore=shutil.ignore_patterns("config.json", "checkpoints"))
    assert faults(bare) == {"tokenizer"}
    for run in (planted, bare):  # where it is not finished, nothing has to be there yet
        (run / "finished.json").unlink()
        assert not faults(run)


@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_a_tokenizer_that_computes_no_numbers_is_named(part, tokenizer, tmp_path):
    spoilt = VQVAE.from_pretrained(tokenizer)
    first = next(getattr(spoilt, part).parameters())
    first.data.fill_(3e38)  # finite, as weights must be that are loaded
    copy = shutil.copytree(tokenizer, tmp_path / "run")
    spoilt.save_pretrained(copy)
    report = examine(copy, **QUIET)
    (fault,) = report.faults
    assert (fault.key, "needs finite" in fault.measured) == ("tokenizer", True)
    assert report.left_out["learning"] == "after the fault of tokenizer"


def test_losses_of_another_kind_are_no_fault(transformer, tokenizer, tmp_path):
    """A log of distilled guidance holds no likelihoods; the loss of weighted maps and of smoothed labels is another."""
    maps = len(VQVAE.from_pretrained(tokenizer).config.schedule)
    weights = (1.0,) * 2 + (1e-3,) * (maps - 2)  # most tokens are not learnt, and cost the log nothing
    start = load_start(str(transformer))
    rate = 1e-3
    free = {"distilled_guidance": 2.0}
    runs = [transformer_run_on(tokenizer, tmp_path / "weighted", steps=60, told={"map_weights": weights})]
    runs += [transformer_run_on(tokenizer, tmp_path / "smoothed", steps=60, told={"label_smoothing": 0.5})]
    runs += [
        transformer_run_on(
            tokenizer, tmp_path / "free", steps=4, log_every=1, start=start, told=free, learning_rate=rate
        )
    ]
    for run in runs:
        assert not faults(run)
    measured = examine(runs[0], **QUIET).measured  # of the tokens themselves, whatever the log's loss weighs
    of_maps = torch.tensor([row["train_nll"] for row in measured["scales"]])
    counts = torch.tensor(VQVAE.from_pretrained(tokenizer).config.schedule.lengths)
    assert measured["loss"]["train"] == pytest.approx(((of_maps * counts).sum() / counts.sum()).item(), rel=1e-4)
