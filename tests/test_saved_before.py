"""What was saved before the big refactoring still loads, still goes on, and still gives the same.

The specimens lie in `tests/golden/before_the_house`. Its README says what each of them is and how it was made. What
may write works on a copy. All goes through the doors that users have: the commands, and the names of the packages.
"""

import json
import shutil
from pathlib import Path

import former_draws
import numpy as np
import pytest
import torch
from PIL import Image

import diffusion_baseline.cli
import var.cli
from diffusion_baseline import DiffusionPipeline
from var import VQVAE, VARPipeline
from var.data import digits
from var.evaluation import Classifier

SPECIMENS = Path(__file__).parent / "golden" / "before_the_house"
EXPECTED = json.loads((SPECIMENS / "expected.json").read_text(encoding="utf-8"))
COMMANDS = {"var": var.cli.main, "diffusion": diffusion_baseline.cli.main}
PIPELINES = {"var": VARPipeline, "diffusion": DiffusionPipeline}


@pytest.fixture
def old(tmp_path):
    """A copy of all specimens, with their times."""
    return shutil.copytree(SPECIMENS, tmp_path / "old")


@pytest.fixture
def call(capsys):
    """Run a command of a package, which must succeed; returns what it printed."""

    def call(package, *words):
        code = COMMANDS[package]([*map(str, words), "--device", "cpu", "--quiet"])
        printed = capsys.readouterr()
        assert code == 0, printed.err
        return printed.out

    return call


def snapshot(folder):
    """Bytes and time of every file below `folder`."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def assert_same_pixels(found, expected):
    """No level differs by more than 1, which the rounding of another processor may do."""
    difference = np.asarray(found, dtype=int) - np.asarray(expected, dtype=int)
    assert np.abs(difference).max() <= 1


# Models


@pytest.mark.parametrize("case", EXPECTED["pipelines"], ids=lambda case: case["path"].replace("/", "-"))
def test_a_pipeline_draws_what_it_drew(case):
    options = dict(case["call"])
    if "generator" in options:
        options["generator"] = torch.Generator().manual_seed(options["generator"])
    if "diffusion" in case["path"]:  # whose steps were spaced otherwise than is the default now
        options["spacing"] = "leading"
    pipe = PIPELINES["diffusion" if "diffusion" in case["path"] else "var"].from_pretrained(SPECIMENS / case["path"])
    out = pipe(**options, output_type="pt", progress=False)
    if "tokens" in case:
        assert torch.cat([tokens.flatten(1) for tokens in out.tokens], dim=1).tolist() == case["tokens"]
    assert_same_pixels((255 * out.images).round().flatten(1), case["pixels"])


def test_names_of_classes_are_kept():
    for package, cls in PIPELINES.items():
        pipe = cls.from_pretrained(SPECIMENS / "pipelines" / package)
        assert pipe.class_names[:2] == ("zero, nought", "one")
        assert pipe.label_of("nought") == 0


def test_a_tokenizer_gives_the_tokens_it_gave():
    some = digits("test").images[:4]
    for folder in ("runs/tokenizer", "runs/transformer/vqvae"):
        token_maps = VQVAE.from_pretrained(SPECIMENS / folder).eval().encode(some)
        assert torch.cat([tokens.flatten(1) for tokens in token_maps], dim=1).tolist() == EXPECTED["tokenizer"]
    assert VQVAE.from_pretrained(SPECIMENS / "runs/tokenizer/checkpoints/best").config.vocabulary == 16


def test_a_judge_keeps_its_digest():
    # A digest that moved would make statistics and reports of the same judge strangers to each other.
    assert Classifier.from_pretrained(SPECIMENS / "judge").digest == EXPECTED["judge"]


def test_what_is_saved_today_says_all_that_was_said(tmp_path):
    for package, cls in PIPELINES.items():
        folder = SPECIMENS / "pipelines" / package
        cls.from_pretrained(folder).save_pretrained(tmp_path / package)
        for path in tmp_path.joinpath(package).rglob("*.json"):
            now = json.loads(path.read_text(encoding="utf-8"))
            before = json.loads((folder / path.relative_to(tmp_path / package)).read_text(encoding="utf-8"))
            assert {name: now.get(name) for name in before} == before


# Runs

TINY = ["training.batch_size=4", "training.log_every=1", "evaluation.samples=20", "evaluation.grid=4"]
VQVAE_TINY = [
    *("vqvae.sides=(1,(1,2),2)", "vqvae.base_channels=2", "vqvae.channel_multipliers=(1,1,1)"),
    *("vqvae.norm_groups=2", "vqvae.width=4", "vqvae.vocabulary=16", "vqvae.phi=2", "data.affine=0"),
]
ADVERSARIAL = [
    *("vqvae.in_channels=3", "vqvae.dropout=0.2", "training.optimizer=adamw", "training.ema_decay=0"),
    *("losses.adversarial=0.5", "losses.patch_channels=2", "losses.patch_layers=1", "losses.lecam=0.1"),
    *("data.flip=0.5", "data.crop=1.25"),
]
# The guidance, the temperature, the variants and the images as they are: those of the preset as it was.
TRANSFORMER_TINY = ["transformer.depth=1", "transformer.width=8", "sampling.guidance_scale=1.1"]
CACHED = ["tokens.variants=1", "tokens.temperature=0.15", "data.flip=0.5"]
NOT_CACHED = ["tokens.cached=false", "tokens.variants=8", "tokens.temperature=0.15"]
UNET_TINY = [
    *("unet.multipliers=(1,)", "unet.base_channels=2", "unet.norm_groups=2", "unet.embedding_width=4"),
    *("sampling_steps=4", "evaluation.judge_steps=0"),
]
LOOKS = ["evaluation.every=2"]
NO_LOOKS = ["evaluation.every=0"]
# Of each run: the package, the words before its data, the data, its settings.
RUNS = {
    "tokenizer": ("var", "train vqvae", "digits", [*VQVAE_TINY, *LOOKS]),
    "adversarial": ("var", "train vqvae", "images", [*VQVAE_TINY, *ADVERSARIAL, *NO_LOOKS]),
    "transformer": ("var", "train transformer", "digits", [*TRANSFORMER_TINY, *CACHED, *LOOKS]),
    "stopped": ("var", "train transformer", "digits", [*TRANSFORMER_TINY, *NOT_CACHED, *NO_LOOKS]),
    "diffusion": ("diffusion", "train", "digits", [*UNET_TINY, *LOOKS]),
}
FINISHED = ("tokenizer", "transformer", "diffusion")


def training(old, name, steps, output=None):
    """The package and the words of the command that made the run `name`, with `steps` steps."""
    package, command, data, settings = RUNS[name]
    words = [*command.split(), data if data == "digits" else old / data, "--preset", "digits"]
    words += ["--vqvae", old / "runs" / "tokenizer"] if command == "train transformer" else []
    chosen = [*TINY, *settings, f"training.steps={steps}"]
    words += [part for setting in chosen for part in ("--set", setting)]
    return package, *words, "--output", output or old / "runs" / name


def losses(run):
    """Each step in the log of a run, with its loss."""
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    return [(row["step"], row["loss"]) for row in rows if "loss" in row]


@pytest.mark.parametrize("name", FINISHED)
def test_a_finished_run_has_nothing_left_to_do(old, call, name):
    before = snapshot(old / "runs" / name)
    text = call(*training(old, name, 4))
    assert text == (
        f"{old / 'runs' / name} is a finished run of 4 steps; nothing is left to do (more training.steps train it on)\n"
    )
    assert snapshot(old / "runs" / name) == before


@pytest.mark.parametrize(
    ("name", "steps"), [("tokenizer", 6), ("adversarial", 20), ("transformer", 6), ("stopped", 20), ("diffusion", 6)]
)
def test_a_run_goes_on(old, call, tmp_path, monkeypatch, name, steps):
    former_draws.restore(monkeypatch)
    run = old / "runs" / name
    # What was made once, before the first step, is not made again.
    kept = {folder: snapshot(run / folder) for folder in ("tokens", "judge")}
    names = {path.name for path in run.iterdir()}
    saved = max(int(path.name.removeprefix("step-")) for path in (run / "checkpoints").glob("step-*"))
    text = call(*training(old, name, steps))
    assert f"went on from step {saved}, finished {steps} steps in " in text
    assert {folder: snapshot(run / folder) for folder in kept} == kept
    if name in FINISHED:
        assert {path.name for path in run.iterdir()} == {*names, "README.md"}  # which runs of then had not
    assert [step for step, _ in losses(run)] == list(range(1, steps + 1))
    assert json.loads((run / "finished.json").read_text(encoding="utf-8"))["steps"] == steps
    cls = {"tokenizer": VQVAE, "adversarial": VQVAE, "diffusion": DiffusionPipeline}.get(name, VARPipeline)
    cls.from_pretrained(run)
    if name in FINISHED:
        return
    # One that was stopped becomes the one that was not: the first of the losses were written before, the others follow
    # from the weights and moments of then. The rounding of another processor grows from step to step, so only ten are
    # compared.
    call(*training(old, name, steps, tmp_path / "new"))
    before, now = (dict(losses(each)[:10]) for each in (run, tmp_path / "new"))
    assert before == pytest.approx(now, rel=5e-3)


def test_the_transformer_had_a_cache_and_a_judge():
    # So that the test above, which looks whether they changed, looks at something.
    run = SPECIMENS / "runs" / "transformer"
    assert {path.name for path in (run / "tokens").glob("*")} == {
        *("cache.json", "part-000000.safetensors", "part-000001.safetensors")
    }
    assert (run / "judge" / "model.safetensors").exists()


@pytest.mark.parametrize("name", RUNS)
def test_the_file_of_a_run_still_holds_all_settings(old, call, tmp_path, name):
    package, *words = training(old, name, 4, tmp_path / "new")
    plain = words[: words.index("--set")]
    config = ["--config", old / "runs" / name / "run.yaml", "--output", tmp_path / "new", "--plan"]
    steps = 4 if name in FINISHED else 20
    assert f"{steps} steps = " in call(package, *plain, *config)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", FINISHED)
def test_an_old_run_can_be_trained_further_as_a_new_one(old, call, tmp_path, name):
    words = training(old, name, 1, tmp_path / "new")
    text = call(*words, "--set", "evaluation.every=0", "--init", old / "runs" / name)
    assert "finished 1 step in " in text


# Samples, statistics, reports

DRAW_SET = ["sample-set", "--protocol", "digits"]
DRAW = ["generate", "--classes", "seven", "3", "--seeds", "0-2", "--guidance", "2"]
# Of each folder of images: the package, how many they are, the words of the command that drew them.
SETS = {
    "sets/var": ("var", 20, [*DRAW_SET, "--count", "20"]),
    "sets/diffusion": ("diffusion", 10, [*DRAW_SET, "--count", "10"]),
    "samples/var": ("var", 6, [*DRAW, "--top-k", "9", "--top-p", "0.9"]),
    "samples/diffusion": ("diffusion", 6, [*DRAW, "--steps", "4", "--spacing", "leading"]),
}


def drawn(path):
    """Pixels and record of an image, without the versions of the software."""
    with Image.open(path) as image:
        record = json.loads(image.info["next-scale"])
        del record["versions"], record["model"]
        return np.asarray(image), record


@pytest.mark.parametrize("name", SETS)
def test_no_image_is_drawn_again_but_a_lost_one_and_that_as_it_was(old, call, name):
    package, count, words = SETS[name]
    words = [*words, "--model", old / "pipelines" / package, "--output", old / name]
    before = snapshot(old / name)
    assert call(package, *words) == f"{count} images in {old / name}, 0 of them new\n"
    images = {file for file in before if file.endswith(".png")}
    assert len(images) == count
    after = snapshot(old / name)
    assert after.keys() == before.keys()
    assert {file: after[file] for file in images} == {file: before[file] for file in images}
    lost = sorted(images)[-1]
    pixels, record = drawn(old / name / lost)
    (old / name / lost).unlink()
    assert call(package, *words) == f"{count} images in {old / name}, 1 of them new\n"
    again, same_record = drawn(old / name / lost)
    assert same_record == record
    assert_same_pixels(again, pixels)


def test_images_of_the_spacing_of_before_are_not_taken_for_those_of_now(old, capsys):
    _, _, words = SETS["samples/diffusion"]
    place = ["--model", old / "pipelines/diffusion", "--output", old / "samples/diffusion", "--device", "cpu"]
    before = snapshot(old / "samples/diffusion")
    assert diffusion_baseline.cli.main([*map(str, [*words[:-2], *place])]) == 2
    assert "was drawn with spacing = 'leading', and now 'trailing' is asked for" in capsys.readouterr().err
    assert snapshot(old / "samples/diffusion") == before


def test_a_grid_is_made_of_images_that_are_there(old, call, tmp_path):
    for package in PIPELINES:
        _, _, words = SETS[f"samples/{package}"]
        place = ["--model", old / "pipelines" / package, "--output", old / "samples" / package]
        assert "0 of them new" in call(package, *words, *place, "--grid", tmp_path / f"{package}.png")
        with Image.open(tmp_path / f"{package}.png") as grid, Image.open(old / f"samples/{package}.png") as before:
            np.testing.assert_array_equal(np.asarray(grid), np.asarray(before))


def evaluate(call, old, samples, report):
    judged = ["--reference", old / "statistics.npz", "--extractor", old / "judge", "--name", "now", "--json", report]
    call("var", "evaluate", old / samples, *judged)
    return json.loads(report.read_text(encoding="utf-8"))


@pytest.mark.parametrize("samples", ["sets/var", "sets/var.npz"])
def test_old_samples_have_the_scores_they_had(old, call, capsys, tmp_path, samples):
    report = evaluate(call, old, samples, tmp_path / "now.json")
    before = json.loads((old / "scores.json").read_text(encoding="utf-8"))
    assert report["scores"].keys() == before["scores"].keys()
    for name, values in before["scores"].items():
        assert report["scores"][name] == pytest.approx(values, rel=1e-3, abs=1e-4), name
    if samples == "sets/var":  # which says how it was drawn
        (now,), (then,) = report["sets"], before["sets"]
        assert now == {**then, "path": str(old / samples)}
    assert report["extractor"] == before["extractor"]
    assert report["reference"]["digest"] == before["reference"]["digest"]
    assert var.cli.main(["report", "diff", str(old / "scores.json"), str(tmp_path / "now.json")]) == 0
    text = capsys.readouterr().out
    assert "before and now" in text
    assert "FD-digits" in text
    strange = [line for line in text.splitlines() if line.startswith("Not the same: ") and "versions" not in line]
    assert not strange


@pytest.mark.parametrize("samples", ["sets/diffusion", "samples/var", "samples/diffusion"])
def test_old_samples_of_every_kind_are_judged(old, call, tmp_path, samples):
    report = evaluate(call, old, samples, tmp_path / "now.json")
    assert report["sets"][0]["samples"] == SETS[samples][1]
    assert report["scores"]["fd"][0] > 0


def test_statistics_of_the_same_images_are_the_same(old, call, tmp_path):
    words = ["stats", "build", old / "images", "--channels", "1", "--extractor", old / "judge"]
    call("var", *words, "--output", tmp_path / "now.npz")
    with np.load(old / "statistics.npz") as before, np.load(tmp_path / "now.npz") as now:
        assert set(now) == set(before)
        assert json.loads(str(now["provenance"])) == json.loads(str(before["provenance"]))
        for name in ("mu", "sigma", "features"):
            np.testing.assert_allclose(now[name], before[name], rtol=1e-3, atol=1e-4)


def test_reports_of_a_comparison_are_set_side_by_side(old, capsys):
    assert var.cli.main(["report", "diff", str(old / "report.json"), str(old / "report.json")]) == 0
    text = capsys.readouterr().out
    assert text.startswith("var\n")
    assert "\n\ndiffusion\n" in text
    assert "Not the same" not in text
