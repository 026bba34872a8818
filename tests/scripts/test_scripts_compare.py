"""`scripts/compare.py` as a user runs it, on fewer steps: real data, real processes, real files."""

import json
import os
import signal
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import compare as script
import numpy as np
import pytest
import torch

from diffusion_baseline import DiffusionPipeline
from var import VARPipeline

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare.py"
TINY = Path(__file__).parents[1] / "support" / "tiny_comparison.py"
ROW_KEYS = {
    *("model", "sampler", "steps", "guidance_scale", "fd", "kd", "inception_score", "sharpness", "diversity"),
    *("precision", "recall", "class_consistency", "nearest_train_distance", "seconds_per_1000_images"),
    *("parameters", "train_seconds", "samples", "seed", "nfe", "flops_per_image", "train_flops", "closer_share"),
}


def compare(*arguments, script=SCRIPT):
    # -P, or PYTHONSAFEPATH, leaves out the folder in which the script's other parts lie.
    command = [sys.executable, "-P", str(script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a tiny comparison that was interrupted by Ctrl-C once and run again, and the second run."""
    folder = tmp_path_factory.mktemp("comparison")
    command = [sys.executable, str(TINY), "tiny", "--output", str(folder)]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 300
    while not list(folder.glob("stages/[!.]*/stage.json")):
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGINT)  # as the terminal does: to all processes of the run
    _, errors = first.communicate(timeout=60)
    assert first.returncode == 130, errors
    assert "run the same command again" in errors
    assert "Traceback" not in errors
    assert not (folder / "report.json").exists()
    kept = {path.name for path in folder.glob("stages/[!.]*/stage.json")}
    assert kept
    return folder, compare("tiny", "--output", folder, script=TINY)


def test_goes_on_after_an_interruption_and_succeeds(finished):
    folder, run = finished
    assert run.returncode == 0, run.stderr
    assert "reused from an earlier run with the same settings: " in run.stderr
    assert run.stderr.split("with the same settings: ", 1)[1].split()[0].strip(",") in ("tokenizer", "diffusion")
    assert not list(folder.glob("stages/.*"))


def test_prints_a_table_of_at_most_100_columns(finished):
    _, run = finished
    table = run.stdout.split("\n- ")[0]
    assert "FD-digits" in table
    assert "FID" not in table
    assert max(map(len, table.splitlines())) <= 100


def test_report_json_holds_what_is_promised(finished):
    folder, _ = finished
    report = json.loads((folder / "report.json").read_text())
    assert set(report) == {"results", "controls", "tokenizer", "environment", "settings", "scores"}
    for row in report["results"]:
        assert set(row) >= ROW_KEYS
        assert row["samples"] == 200
        assert row["seconds_per_1000_images"] > 0
        assert row["fd"] > 0
        assert row["inception_score"] == pytest.approx(row["sharpness"] * row["diversity"])
    assert [row["model"] for row in report["results"] if row.get("headline")] == ["var", "diffusion"]
    assert [(row["sampler"], row["steps"]) for row in report["results"]][-2:] == [("ddim", 12), ("ddpm", 5)]
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
    folder, _ = finished
    page = Page()
    page.feed((folder / "report.html").read_text())
    assert {"verdict", "compared", "results", "tradeoff", "samples", "process", "tokenizer", "training"} <= page.ids
    assert all(source.startswith(("data:", "#")) for source in page.sources)
    text = " ".join(page.words)
    assert "FD-digits" in text
    assert "Gaussian per class" in text
    assert "DDPM-5 g=1.1" in text


def test_samples_are_as_promised(finished):
    folder, _ = finished
    for model in ("var", "diffusion"):
        with np.load(folder / "samples" / f"{model}.npz") as file:
            images, labels = file["arr_0"], file["arr_1"]
        assert images.shape == (200, 8, 8, 1)
        assert images.dtype == np.uint8
        assert np.array_equal(np.bincount(labels), np.full(10, 20))
        assert (folder / "samples" / f"{model}.png").read_bytes().startswith(b"\x89PNG")


def test_pipelines_are_saved_for_from_pretrained(finished):
    folder, _ = finished
    var = VARPipeline.from_pretrained(folder / "models" / "var")
    diffusion = DiffusionPipeline.from_pretrained(folder / "models" / "diffusion")
    for pipe, options in ((var, {}), (diffusion, {"num_inference_steps": 4})):
        images = pipe([0, 9], seeds=[1, 2], output_type="pt", progress=False, **options).images
        assert images.shape == (2, 1, 8, 8)
        assert torch.isfinite(images).all()


def test_a_second_run_trains_nothing(finished):
    folder, _ = finished
    before = {path: path.stat().st_mtime_ns for path in folder.glob("stages/[!.]*/stage.json")}
    run = compare("tiny", "--output", folder, script=TINY)
    assert run.returncode == 0, run.stderr
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("stages/[!.]*/stage.json")}
    line = run.stderr.split("reused from", 1)[1].splitlines()[0]
    for stage in ("tokenizer", "var", "diffusion", "samples of var", "times of diffusion"):
        assert stage in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["digts"], "unknown comparison 'digts'; did you mean 'digits'?"),
        (["digits", "--device", "abacus"], "device 'abacus' cannot be used here"),
        (["digits", "--output", "{file}"], "must be writable"),
        (["digits", "--output", "{folder}"], "must be a new folder or that of a comparison, but it holds file; choose"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(tmp_path, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr("comparison.processes.start_server", lambda: None)  # this process has a server of its own
    file = tmp_path / "file"
    file.write_text("in the way")
    assert script.main([argument.format(file=file, folder=tmp_path) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert file.read_text() == "in the way"


def test_the_script_finds_its_parts_and_tells_mistakes_by_its_exit_code():
    run = compare("digts")
    assert run.returncode == 2
    assert run.stderr.startswith("compare.py: error: unknown comparison 'digts'")
