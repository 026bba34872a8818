"""`scripts/compare.py` as a user runs it, on fewer steps: real data, real processes, real files."""

import json
import os
import signal
import time
from html.parser import HTMLParser
from pathlib import Path

import compare as script
import numpy as np
import pytest
import torch
from comparison import judging
from comparison import run as running
from comparison.data import real_images
from comparison.schedule import Place
from comparison.settings import comparison
from comparison.training import judge_stage, training_jobs
from PIL import Image
from processes import start_pair
from tiny_comparison import look_at_few, patch, serially, tiny

from diffusion_baseline import DiffusionPipeline
from var import VARPipeline

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare.py"
ROW_KEYS = {
    *("model", "sampler", "steps", "guidance_scale", "fd", "kd", "inception_score", "sharpness", "diversity"),
    *("precision", "recall", "class_consistency", "nearest_train_distance", "seconds_per_1000_images"),
    *("parameters", "train_seconds", "samples", "seed", "nfe", "flops_per_image", "train_flops", "closer_share"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory, forker):
    """The folder of a tiny comparison killed inside a training, ended by Ctrl-C and run again, and that run's output.

    The processes of the one that hears Ctrl-C are started as those of users; the others are forked.
    """
    folder, place = tmp_path_factory.mktemp("comparison"), tmp_path_factory.mktemp("output")

    def start(log, **named):
        words = ("digits", "--output", folder)
        return forker.start("tiny_comparison.forked", place / log, place / "table", *words, **named)

    def status_of(log, **named):
        return forker.wait(start(log, **named), seconds=500)

    assert status_of("killed", killed=True) == -signal.SIGKILL, (place / "killed").read_text()
    assert list(folder.glob("stages/[!.]*/model/checkpoints/step-*/manifest.json"))
    begun_in = {path: path.stat().st_mtime_ns for path in folder.glob("stages/[!.]*/prepared.json")}
    assert begun_in
    assert not all((path.parent / "stage.json").exists() for path in begun_in)
    stop_one(folder, start, forker, place / "stopped")
    assert status_of("last") == 0, (place / "last").read_text()
    assert begun_in.items() <= {path: path.stat().st_mtime_ns for path in folder.glob("stages/*/prepared.json")}.items()
    return folder, *((place / name).read_text() for name in ("table", "last"))


def stop_one(folder, start, forker, log):
    """Start a comparison whose processes are as those of users, and end it by Ctrl-C after a stage."""
    pattern = "stages/[!.]*/stage.json"
    before = set(folder.glob(pattern))
    stopped = start(log.name, server=True)
    deadline = time.monotonic() + 300
    while before >= set(folder.glob(pattern)):
        assert forker.poll(stopped) is None, log.read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(stopped, signal.SIGINT)  # as the terminal does: to all processes of the run
    assert forker.wait(stopped) == 130, log.read_text()
    errors = log.read_text()
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    assert not (folder / "report.json").exists()


def test_goes_on_after_an_interruption_and_succeeds(finished):
    folder, _, errors = finished
    assert "reused from an earlier run with the same settings: " in errors
    first = errors.split("with the same settings: ", 1)[1].split()[0].strip(",")
    assert first in ("tokenizer", "diffusion", "judge", "second")
    assert not list(folder.glob("stages/.*"))


def test_two_processes_of_a_launcher_tell_what_one_does(finished, forker, tmp_path):
    statuses, _ = start_pair(forker, "comparing_pair.whole", tmp_path / "log", folder=str(tmp_path))
    logs = [(tmp_path / f"log-{rank}").read_text() for rank in range(2)]
    assert statuses == [0, 0], logs
    codes = [json.loads((tmp_path / f"codes-{rank}.json").read_text()) for rank in range(2)]
    assert codes == [[2, 2, 0]] * 2, logs
    for mistake in ("unknown option '--quik'; did you mean '--quick'", "got 'digitz', but there is no such folder"):
        assert [log.count(mistake) for log in logs] == [1, 0]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "s on 2 processes" in page
    one, two = (json.loads((folder / "report.json").read_text()) for folder in (finished[0], tmp_path / "report"))
    assert two["settings"]["judges"] == one["settings"]["judges"]
    assert two["controls"] == {name: one["controls"][name] for name in two["controls"]}
    rows = [row for row in one["results"] if row["model"] == "diffusion"]
    for row, same in zip(two["results"], rows, strict=True):
        assert row["train_processes"] == 2
        assert set(row) - {"train_processes"} == set(same)
        for name in ("parameters", "train_flops", "flops_per_image", "nfe", "samples"):
            assert row[name] == same[name]


def test_a_killed_training_ends_as_one_of_one_piece(finished, tmp_path):
    """The weights of every model are, bit for bit, those of a comparison that nobody disturbed."""
    folder, *_ = finished
    plan = tiny(comparison("digits"))
    place = Place(root=tmp_path / "stages", plan=plan, device="cpu", data_digest=plan.data.digest())
    whole = serially([job for job in training_jobs(place, [0]) if job.work is not judge_stage], place)
    for name, stage in whole.items():
        (other,) = folder.glob(f"stages/{stage.folder.name}")
        files = sorted(path.relative_to(stage.folder) for path in stage.folder.rglob("*.safetensors"))
        assert files
        for file in files:
            assert (other / file).read_bytes() == (stage.folder / file).read_bytes(), (name, file)
        assert not list(other.glob("model/checkpoints"))


def test_prints_a_table_of_at_most_100_columns(finished):
    _, output, _ = finished
    table = output.split("\n- ")[0]
    assert "FD-digits" in table
    assert "FID" not in table
    assert max(map(len, table.splitlines())) <= 100


def test_report_json_holds_what_is_promised(finished):
    folder, *_ = finished
    report = json.loads((folder / "report.json").read_text())
    assert set(report) == {"results", "controls", "tokenizer", "environment", "settings", "scores", "by_seed"}
    assert report["by_seed"] == []
    for row in report["results"]:
        assert set(row) >= ROW_KEYS
        assert row["samples"] == 200
        assert row["seconds_per_1000_images"] > 0
        assert row["fd"] > 0
        if not row.get("headline"):
            assert row["inception_score"] == pytest.approx(row["sharpness"] * row["diversity"])
            continue
        # The mean over the sets that were drawn with different seeds.
        sets = report["scores"][row["model"]]["scores"]
        assert all(row[key] == pytest.approx(np.mean(sets[key])) for key in ("fd", "recall", "inception_score"))
    assert [row["model"] for row in report["results"] if row.get("headline")] == ["var", "diffusion"]
    assert [(row["sampler"], row["steps"]) for row in report["results"]][-2:] == [("ddim", 4), ("ddpm", 3)]
    assert {"real_test", "test_against_train", "real_halves", "class_gaussian", "token_marginals"} <= set(
        report["controls"]
    )
    assert report["controls"]["real_test"]["fd"] < report["controls"]["token_marginals"]["fd"]
    assert report["environment"]["threads"] == 1
    assert len(report["tokenizer"]["usage_by_scale"]) == len(report["tokenizer"]["sides"])


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids, self.sources, self.words = set(), [], []

    def handle_starttag(self, _tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id"))
        self.sources += [attributes[name] for name in ("src", "href") if name in attributes]

    def handle_data(self, data):
        self.words.append(data)


def test_report_html_is_self_contained_and_complete(finished):
    folder, *_ = finished
    page = Page()
    page.feed((folder / "report.html").read_text())
    assert {"verdict", "compared", "results", "tradeoff", "samples", "process"} <= page.ids
    assert {"edits", "tokenizer", "training"} <= page.ids
    assert "Columns of a real image, its left half, and 2 edits of it." in (folder / "report.html").read_text()
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    text = " ".join(page.words)
    assert "FD-digits" in text
    assert "Gaussian per class" in text
    assert "DDPM-3 g=1.1" in text


def test_samples_are_as_promised(finished):
    folder, *_ = finished
    for model in ("var", "diffusion"):
        with np.load(folder / "samples" / f"{model}.npz") as file:
            images, labels = file["arr_0"], file["arr_1"]
        assert images.shape == (200, 8, 8, 1)
        assert images.dtype == np.uint8
        assert np.array_equal(np.bincount(labels), np.full(10, 20))
        assert (folder / "samples" / f"{model}.png").read_bytes().startswith(b"\x89PNG")


def test_pipelines_are_saved_for_from_pretrained(finished):
    folder, *_ = finished
    var = VARPipeline.from_pretrained(folder / "models" / "var")
    diffusion = DiffusionPipeline.from_pretrained(folder / "models" / "diffusion")
    for pipe, options in ((var, {}), (diffusion, {"num_inference_steps": 4})):
        images = pipe([0, 9], seeds=[1, 2], output_type="pt", progress=False, **options).images
        assert images.shape == (2, 1, 8, 8)
        assert torch.isfinite(images).all()


def test_a_second_run_trains_nothing(finished, monkeypatch, capsys):
    folder, *_ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("stages/[!.]*/stage.json")}
    monkeypatch.setattr("comparison.processes.start_server", lambda: None)
    for module in (judging, running):
        monkeypatch.setattr(module, "carry_out", serially)
    patch(monkeypatch.setattr)
    look_at_few(monkeypatch.setattr)
    assert script.main(["digits", "--output", str(folder), "--device", "cpu"]) == 0
    real_images.cache_clear()  # of few
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("stages/[!.]*/stage.json")}
    line = capsys.readouterr().err.split("reused from", 1)[1].splitlines()[0]
    for stage in ("tokenizer", "transformer", "diffusion", "samples of var", "times"):
        assert stage in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digts"], "no such folder; did you mean 'digits'?"),
        ([], "either DATA or --runs says what is compared, got neither"),
        (["digits", "--runs", "{folder}"], "either DATA or --runs says what is compared, got both"),
        (["digits", "--reference", "{folder}"], "--reference is for --runs, got none"),
        (["--runs", "{folder}", "--quick"], "--quick is about training, and with --runs nothing is trained"),
        (["--runs", "{folder}"], "trained models are judged by real images, got none"),
        (["shapes", "--preset", "shape-32"], "unknown preset of all models that are compared 'shape-32'; did you mean"),
        (["shapes", "--preset", "unet-32"], "unknown preset of all models that are compared 'unet-32'"),
        (["shapes", "--size", "16"], "make images of 32x32, got data of 16x16; give --size 32, or a --preset for"),
        (["digits", "--models", "vra"], "unknown model 'vra'; did you mean 'var'"),
        (["digits", "--models", "var,var"], "each model may be named once"),
        (["{flat}", "--preset", "digits"], "a comparison needs 2 or more classes, from which its judges learn, got 1"),
        (["{few}", "--preset", "digits"], "needs 4 training images or more of each class, got 1 of 'a'"),
        (["digits", "--device", "abacus"], "device 'abacus' cannot be used here"),
        (["digits", "--output", "{file}"], "must be writable"),
        (["digits", "--output", "{folder}"], "must be a new folder or that of a comparison, but it holds few; choose"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr("comparison.processes.start_server", lambda: None)  # this process has a server of its own
    file = tmp_path / "file"
    file.write_text("in the way")
    Image.new("RGB", (8, 8)).save(tmp_path / "image.png")
    for name in ("flat", "few/a", "few/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "image.png").symlink_to(tmp_path / "image.png")
    places = {name: tmp_path / name for name in ("file", "flat", "few")}
    assert script.main([argument.format(folder=tmp_path, **places) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert file.read_text() == "in the way"


def test_the_script_finds_its_parts_and_tells_mistakes_by_its_exit_code(forker, tmp_path):
    """Under -P, or PYTHONSAFEPATH, the folder in which the script's other parts lie is left out."""
    log = tmp_path / "log"
    assert forker.wait(forker.start("tiny_comparison.as_script", log, SCRIPT, "digts")) == 2
    assert log.read_text().startswith(
        "compare.py: error: data must be a folder, tar files or one of the known names, got"
    )
