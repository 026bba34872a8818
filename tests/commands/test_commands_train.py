"""`var train` as a user calls it: both stages, resuming, fine-tuning, plans, mistakes."""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import yaml
from PIL import Image

from var import VQVAE, VARPipeline
from var.cli import main
from var.data import open_data
from var.evaluation import Classifier
from var.recipes.vqvae.job import VQVAEJob
from var.recipes.vqvae.task import VQVAETask

ROOT = Path(__file__).parents[2]
STEPS = 12
VQVAE_TINY = [
    f"training.steps={STEPS}",
    "training.batch_size=8",
    "training.log_every=4",
    "evaluation.every=6",
    "evaluation.samples=16",
    "evaluation.grid=9",
    "checkpoints.every=2",
    "vqvae.base_channels=8",
    "vqvae.norm_groups=4",
    "vqvae.vocabulary=32",
]
TRANSFORMER_TINY = [
    "training.steps=6",
    "training.batch_size=8",
    "training.log_every=2",
    "training.ema_decay=0.5",
    "tokens.variants=1",
    "transformer.depth=2",
    "transformer.width=16",
    "evaluation.every=3",
    "evaluation.samples=20",
    "evaluation.grid=9",
    "evaluation.judge_steps=3",
    "checkpoints.every=2",
]


def command(stage, data, output, settings, *others):
    options = [part for setting in settings for part in ("--set", setting)]
    return ["train", stage, str(data), "--output", str(output), "--quiet", "--device", "cpu", *options, *others]


def vqvae_command(output, *others, data="digits", settings=()):
    return command("vqvae", data, output, [*VQVAE_TINY, *settings], "--preset", "digits", *others)


def transformer_command(output, *others, data="digits", settings=()):
    return command("transformer", data, output, [*TRANSFORMER_TINY, *settings], "--preset", "digits", *others)


@pytest.fixture(scope="module")
def vqvae_run(tmp_path_factory):
    """The folder of a finished run of stage 1."""
    folder = tmp_path_factory.mktemp("vqvae") / "run"
    assert main(vqvae_command(folder)) == 0
    return folder


@pytest.fixture(scope="module")
def transformer_run(tmp_path_factory, vqvae_run):
    """The folder of a finished run of stage 2."""
    folder = tmp_path_factory.mktemp("transformer") / "run"
    assert main(transformer_command(folder, "--vqvae", str(vqvae_run))) == 0
    return folder


def rows(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def same_weights(one, other):
    weights = other.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in one.state_dict().items())


def test_a_run_has_a_card_with_the_terms_of_its_data(vqvae_run, transformer_run):
    for run, cls in ((vqvae_run, "VQVAE"), (transformer_run, "VARPipeline")):
        page = (run / "README.md").read_text()
        assert yaml.safe_load(page.split("---\n")[1])["license"] == "cc-by-4.0"
        assert "Trained on digits, whose images are licensed CC BY 4.0. Digits: E. Alpaydin and C. Kaynak" in page
        assert f'{cls}.from_pretrained("run")' in page
    assert "for 6 steps of 8 images, seed 0; `run.yaml` has all settings." in page
    assert VARPipeline.from_pretrained(transformer_run).terms.licence == "CC BY 4.0"


def test_a_run_of_stage_1_leaves_a_tokenizer_and_its_story(vqvae_run):
    vqvae = VQVAE.from_pretrained(vqvae_run)
    assert (vqvae.config.vocabulary, vqvae.config.base_channels) == (32, 8)
    evaluations = [row for row in rows(vqvae_run) if "psnr" in row]
    assert [row["step"] for row in evaluations] == [6, 12]
    assert [row["step"] for row in rows(vqvae_run) if "loss" in row] == [4, 8, 12]
    assert sorted(path.name for path in (vqvae_run / "samples").iterdir()) == ["step-000006.png", "step-000012.png"]
    # Three columns of 8 pixels, 8 times as large, in three pairs of rows.
    with Image.open(vqvae_run / "samples" / "step-000012.png") as picture:
        assert picture.size == (3 * 65 + 1, 6 * 65 + 1)
    images = torch.stack([open_data("digits", split="test").load(int(i)) for i in torch.linspace(0, 296, 16).long()])
    error = (vqvae.reconstruct(images) - images).square().mean().item()
    assert evaluations[-1]["squared_error"] == pytest.approx(error, rel=1e-4)
    tokens = torch.cat([token_map.flatten() for token_map in vqvae.encode(images)])
    assert evaluations[-1]["codes_used"] == pytest.approx(len(tokens.unique()) / 32)
    assert 1 <= evaluations[-1]["perplexity"] <= len(tokens.unique())
    best = VQVAE.from_pretrained(vqvae_run / "checkpoints" / "best")
    assert same_weights(best, vqvae) == (evaluations[1]["squared_error"] < evaluations[0]["squared_error"])
    settings = yaml.safe_load((vqvae_run / "run.yaml").read_text())
    assert settings["training"]["steps"] == STEPS
    assert settings["run"]["data"]["classes"] == [str(digit) for digit in range(10)]
    assert json.loads((vqvae_run / "finished.json").read_text())["steps"] == STEPS


def test_a_run_of_stage_2_leaves_a_pipeline_that_generates(transformer_run, vqvae_run, tmp_path):
    pipe = VARPipeline.from_pretrained(transformer_run)
    assert same_weights(pipe.vqvae, VQVAE.from_pretrained(vqvae_run))
    assert pipe.class_names == tuple("0123456789")
    evaluations = [row for row in rows(transformer_run) if "fd_digits" in row]
    assert [row["step"] for row in evaluations] == [3, 6]
    assert {"evaluation_loss", "precision", "recall", "class_consistency"} <= set(evaluations[0])
    last = [row for row in rows(transformer_run) if "loss" in row][-1]
    assert {f"{name}_{scale}" for name in ("loss", "accuracy") for scale in range(6)} <= set(last)
    assert Classifier.from_pretrained(transformer_run / "judge").name == "digits"
    assert main(["generate", "--model", str(transformer_run), "--classes", "3", "--output", str(tmp_path / "o")]) == 0
    assert list((tmp_path / "o").rglob("*.png"))


def test_a_finished_run_says_so(vqvae_run, capsys):
    before = (vqvae_run / "model.safetensors").stat().st_mtime_ns
    assert main(vqvae_command(vqvae_run)) == 0
    assert f"{vqvae_run} is a finished run of {STEPS} steps" in capsys.readouterr().out
    assert (vqvae_run / "model.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            lambda run: vqvae_command(run, settings=["training.learning_rate=1e-4"]),
            "learning_rate was 0.005, now",
        ),
        (
            lambda run: transformer_command(run, "--vqvae", str(run)),
            "a run of kind 'transformer', got 'vqvae'",
        ),
        (lambda run: transformer_command(run / "new"), "needs a trained tokenizer, got none; add --vqvae"),
        (lambda run: vqvae_command(run / "new", "--preset", "digit"), "unknown tokenizer preset 'digit'"),
        (
            lambda run: vqvae_command(run / "new", settings=["vqvae.width=x"]),
            "field 'width' must be a whole number, got 'x'",
        ),
        (lambda run: vqvae_command(run / "new", data="digitz"), "did you mean 'digits'"),
        (
            lambda run: vqvae_command(run / "new", settings=["training.batch_size=5000"]),
            "the data must hold at least one global batch of 5000 images",
        ),
        (
            lambda run: transformer_command(run / "new", "--vqvae", str(run), settings=["transformer.vocabulary=8"]),
            "transformer.vocabulary is given by the tokenizer, 32, got 8",
        ),
        (lambda run: transformer_command(run / "new", "--vqvae", str(run / "samples")), "config.json"),
    ],
)
def test_mistakes_are_told_in_a_line_before_anything_is_written(vqvae_run, capsys, arguments, message):
    assert main(arguments(vqvae_run)) == 2
    error = capsys.readouterr().err.strip()
    assert message in error
    assert "\n" not in error
    assert not (vqvae_run / "new").exists()


def test_a_plan_tells_numbers_and_does_nothing(vqvae_run, capsys, tmp_path):
    assert main(transformer_command(tmp_path / "new", "--vqvae", str(vqvae_run), "--plan")) == 0
    text = capsys.readouterr().out
    assert not (tmp_path / "new").exists()
    assert "22 per image, in maps of 1x1 1x1 2x2 2x2 2x2 2x2 2x2" in text
    assert "1,500 images in 10 classes" in text
    assert "6 steps = 0.0 epochs" in text
    assert re.search(r"step +8 images, \d+ tokens, [\d.]+ [MG]FLOP", text)


def test_a_plan_needs_no_tokenizer(capsys, tmp_path):
    assert main(["train", "transformer", "shapes", "--preset", "d16", "--output", str(tmp_path / "new"), "--plan"]) == 0
    text = capsys.readouterr().out
    # 310,283,520 as published, with 12 classes instead of 1000.
    assert f"{310_283_520 - 988 * 1024:,} parameters" in text
    assert "680 per image" in text
    assert "768 images, 522,240 tokens, 714 TFLOP" in text


@pytest.fixture
def start(forker, tmp_path):
    """Starts `python -m var ARGUMENTS`; returns the number of the process."""

    def start(arguments, log=None, **environment):
        log = log or tmp_path / "output"
        return forker.start("processes.run_module", log, "var", *arguments, environment=environment)

    return start


@pytest.fixture
def results_of_pair(start, forker, tmp_path):
    """Starts a command in each of two processes of one run, as torchrun does; the exit code and output of both."""

    def results_of_pair(*commands):
        # They meet in a store of this process, whose port nobody else can take.
        store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        shared = {"WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": store.port}
        shared |= {"TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": 0}
        logs = [tmp_path / f"output-{rank}" for rank in range(2)]
        pair = [
            start(command, log=log, **shared, RANK=rank, LOCAL_RANK=rank)
            for rank, (command, log) in enumerate(zip(commands, logs, strict=True))
        ]
        return [(forker.wait(process, seconds=240), log.read_text()) for process, log in zip(pair, logs, strict=True)]

    return results_of_pair


def wait_for_step(forker, process, folder, least, seconds=240):
    """Until a whole checkpoint of at least this step is there."""
    for _ in range(100 * seconds):
        found = [int(path.name[5:]) for path in (folder / "checkpoints").glob("step-*") if path.name[5:].isdigit()]
        if max(found, default=0) >= least:
            return
        assert forker.poll(process) is None, (folder.parent / "output").read_text()
        time.sleep(0.01)
    raise AssertionError("no checkpoint came")


def test_a_killed_run_and_a_stopped_one_go_on_to_the_same_weights(vqvae_run, start, forker, tmp_path, capsys):
    folder, arguments = tmp_path / "run", vqvae_command(tmp_path / "run")
    process = start(arguments)
    wait_for_step(forker, process, folder, 2)
    os.kill(process, signal.SIGKILL)
    forker.wait(process)
    assert not (folder / "finished.json").exists()

    process = start(arguments)
    wait_for_step(forker, process, folder, 4)
    os.kill(process, signal.SIGTERM)
    text = (tmp_path / "output").read_text
    assert forker.wait(process, seconds=240) == 0, text()
    finished = (folder / "finished.json").exists()  # the machine may have been fast
    assert finished or "run the same command again to go on" in text()
    capsys.readouterr()
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert finished or "went on from step" in told
    assert finished or re.search(r"finished 12 steps in .*; psnr .*, codes used [\d.]+%, perplexity [\d.]+", told)
    assert same_weights(VQVAE.from_pretrained(folder), VQVAE.from_pretrained(vqvae_run))
    steps = [row["step"] for row in rows(folder) if "loss" in row]
    assert steps == [4, 8, 12]


def test_two_processes_train_as_one_with_the_batch_in_two_parts(vqvae_run, results_of_pair, tmp_path):
    options = ("--vqvae", str(vqvae_run))
    for code, text in results_of_pair(*[transformer_command(tmp_path / "two", *options)] * 2):
        assert code == 0, text
    assert main(transformer_command(tmp_path / "one", *options, settings=["training.accumulation=2"])) == 0
    one, two = rows(tmp_path / "one"), rows(tmp_path / "two")
    assert [row["step"] for row in one] == [row["step"] for row in two]
    for row, same in zip(one, two, strict=True):
        for name in {"loss", "loss_5", "accuracy", "evaluation_loss"} & set(row):
            assert same[name] == pytest.approx(row[name], rel=1e-5)


def test_processes_with_other_settings_do_not_train_together(results_of_pair, tmp_path):
    settings = ([f"training.seed={rank}", f"training.log_every={rank + 1}"] for rank in range(2))
    results = results_of_pair(*(vqvae_command(tmp_path / "run", settings=each) for each in settings))
    for rank, (status, error) in enumerate(results):
        assert status == 2, error
        assert f"process {rank} to process {1 - rank}: training.seed was {rank}, now {1 - rank}; " in error
        # A run may go on with another one of these, but two processes with two of them would wait for ever.
        assert f"training.log_every was {rank + 1}, now {2 - rank}; start" in error
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory):
    """A folder of two classes of digits as PNGs: ones, and a class that the digits do not have."""
    folder = tmp_path_factory.mktemp("two")
    data = open_data("digits")
    for index in range(24):
        name = "1" if data.labels[index] % 2 else "curl"
        (folder / name).mkdir(exist_ok=True)
        pixels = ((data.load(index)[0] + 1) * 127.5).round().to(torch.uint8).numpy()
        Image.fromarray(pixels).save(folder / name / f"{index:02d}.png")
    return folder


def test_fine_tuning_takes_over_weights_and_replaces_classes(transformer_run, two_classes, tmp_path, capsys):
    options = ("--init", str(transformer_run))
    settings = ["training.steps=2", "training.learning_rate=1e-6", "evaluation.every=0"]
    assert main(transformer_command(tmp_path / "run", *options, data=two_classes, settings=settings)) == 0
    text = capsys.readouterr().out
    assert "the class embedding is replaced: 10 classes before, 2 now, 1 of them known by name" in text
    before, after = VARPipeline.from_pretrained(transformer_run), VARPipeline.from_pretrained(tmp_path / "run")
    assert after.class_names == ("1", "curl")
    old, new = (pipe.transformer.class_embedding.weight for pipe in (before, after))
    torch.testing.assert_close(new, old[[1, 10, 10]], rtol=0, atol=1e-4)
    torch.testing.assert_close(after.transformer.head.weight, before.transformer.head.weight, rtol=0, atol=1e-4)
    assert after("curl", num_images=2, seeds=[0, 1], progress=False).images[0].size == (8, 8)


def test_a_tokenizer_can_be_trained_on(vqvae_run, tmp_path):
    settings = ["training.steps=2", "training.learning_rate=1e-9", "vqvae.codebook=gradient", "vqvae.restart_below=0"]
    assert main(vqvae_command(tmp_path / "run", "--init", str(vqvae_run), settings=settings)) == 0
    before, after = VQVAE.from_pretrained(vqvae_run), VQVAE.from_pretrained(tmp_path / "run")
    torch.testing.assert_close(after.encoder.state_dict(), before.encoder.state_dict(), rtol=0, atol=1e-6)
    assert main(vqvae_command(tmp_path / "no", "--init", str(vqvae_run), settings=["vqvae.width=4"])) == 2


def test_images_of_a_flat_folder_make_an_unconditional_model(two_classes, vqvae_run, tmp_path):
    settings = ["training.steps=2", "training.batch_size=4", "evaluation.every=1"]
    flat = two_classes / "1"
    assert main(transformer_command(tmp_path / "run", "--vqvae", str(vqvae_run), data=flat, settings=settings)) == 0
    pipe = VARPipeline.from_pretrained(tmp_path / "run")
    assert pipe.class_names == ("unlabelled",)
    assert pipe(num_images=2, progress=False).images[0].size == (8, 8)
    evaluations = [row for row in rows(tmp_path / "run") if "evaluation_loss" in row]
    assert [set(row) for row in evaluations] == [{"step", "evaluation_loss"}] * 2
    assert (tmp_path / "run" / "checkpoints" / "best").is_dir()


def test_settings_come_from_files_too(tmp_path, vqvae_run, capsys):
    (tmp_path / "a.yaml").write_text("training: {steps: 30, learning_rate: 1e-4}")
    files = ("--config", str(tmp_path / "a.yaml"), "--plan")
    assert main(["train", "vqvae", "digits", "--preset", "digits", "--output", str(tmp_path / "new"), *files]) == 0
    assert "up to 0.0001 in 1 step, then cosine down to 0 at step 30" in capsys.readouterr().out
    files = ("--config", str(vqvae_run / "run.yaml"))
    assert main(["train", "vqvae", "digits", "--preset", "shapes-32", "--output", str(vqvae_run), *files]) == 0
    assert "is a finished run" in capsys.readouterr().out


def test_data_can_be_written_out_as_a_folder(tmp_path, capsys):
    assert main(["data", "write", "shapes", str(tmp_path / "png"), "--count", "26", "--size", "16", "--quiet"]) == 0
    assert "wrote 26 images of 12 classes" in capsys.readouterr().out
    again, data = open_data(str(tmp_path / "png"), size=16), open_data("shapes", size=16)
    assert (len(again), set(again.classes)) == (26, set(data.classes))
    first = again.classes.index(data.classes[0])
    images = [again.load(int(index)) for index in (again.labels == first).nonzero()]
    assert any((image - data.load(0)).abs().max() < 0.01 for image in images)


def test_the_plan_counts_what_a_job_trains():
    import argparse

    arguments = argparse.Namespace(data="digits", preset="digits", init=None, files=[], assignments=[], seed=None)
    vars(arguments).update(quiet=True, on_bad_image="error", plan=True, output=Path("none"))
    job = VQVAEJob.of(arguments)
    plan = job.plan(processes=1)
    model = VQVAE(job.settings.vqvae)
    assert plan.parameters == sum(weight.numel() for weight in model.parameters())
    assert plan.epochs == pytest.approx(1000 * 64 / 1500)
    assert VQVAETask(model, job.settings.losses).opponent is None
