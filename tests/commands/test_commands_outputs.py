"""What commands write: over nothing that is there, before a word is printed, and never onto a device (issue 11)."""

import json
import os
import shutil
import stat

import numpy as np
import pytest
import torch
from levelled_sets import draw_classes, draw_flat
from PIL import Image
from tiny import NAMES, tiny_pipeline

from var.errors import UserError
from var.evaluation.features.classifier import Classifier, ClassifierConfig
from var.evaluation.sets.samples import open_samples, save_npz


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Folders `a`, `b` and `real` of images, statistics `real.npz`, the classifier `judge`; nobody changes them."""
    root = tmp_path_factory.mktemp("outputs")
    torch.manual_seed(0)
    judge = Classifier(ClassifierConfig(height=4, width=4, widths=(6, 6), strides=(1, 2)))
    judge.save_pretrained(root / "judge")
    for name, first in (("a", 0), ("b", 40), ("real", 1000)):
        draw_flat(root / name, range(first, first + 40))
    from var.evaluation.sets.reference_statistics import build_statistics

    build_statistics(root / "real", judge, channels=1, progress=False).save(root / "real.npz")
    tiny_pipeline(sides=(1, 2, 4), class_names=NAMES).save_pretrained(root / "model")
    tiny_pipeline(sides=(1, 2, 4), num_classes=10).save_pretrained(root / "digits")
    return root


@pytest.fixture
def run(command, place, monkeypatch):
    monkeypatch.chdir(place)

    def run(name, *argv):
        options = ["--device", "cpu", "--quiet"]
        if name in ("evaluate", "stats build"):
            options += ["--extractor", "judge"]
        return command("var", *name.split(), *options, *argv)

    return run


def contents(root):
    return {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def refused(place, run, name, *argv):
    """The one line of a command that may change nothing."""
    before = contents(place)
    code, out, err = run(name, *argv)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert contents(place) == before
    return err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--json", "real.npz"], "--json must not write over what is read or into it, got real.npz"),
        (["--json", "a/scores.json"], "got a/scores.json and the input a; choose another place"),
        (["--output", "a"], "--output must not write over what is read or into it, got a/scores.json"),
        (["--output", "judge"], "got judge/scores.json and the input judge"),
        (["--html", "./judge/config.json"], "and the input judge"),
        (["--json", "x.json", "--markdown", "y/../x.json"], "each output needs a file of its own, got x.json"),
        (["--json", "r/scores.json", "--output", "r"], "each output needs a file of its own"),
        (["--json", "r/x", "--markdown", "r/x/y"], "each output needs a file of its own"),
        (["--json", "/dev/null"], "must be a regular file or new, got a device; name another file"),
        (["--html", "pipe"], "must be a regular file or new, got a pipe"),
        (["--json", "link.npz"], "--json must not write over what is read"),
        (["--json", "hard.npz"], "--json must not write over what is read"),
        (["--name", ""], "the name of a model must be a text of 1 to 200 characters, got ''"),
        (["--name", "x" * 10_000], "got 10000 characters; choose another"),
    ],
)
def test_outputs_of_an_evaluation_are_looked_at_before_the_work(place, run, monkeypatch, argv, message):
    if "pipe" in argv and not (place / "pipe").exists():
        os.mkfifo(place / "pipe")
    for name, make in (("link.npz", os.symlink), ("hard.npz", os.link)):
        if name in argv and not (place / name).exists():
            make(place / "real.npz", place / name)
    monkeypatch.setattr("var.commands.extractor.load", lambda *_, **__: pytest.fail("work was begun"))
    assert message in refused(place, run, "evaluate", "a", "--reference", "real.npz", *argv)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)  # F0


@pytest.mark.parametrize("output", ["real/x.npz", "real/1000.png", "real", "judge/model.safetensors", "/dev/null"])
def test_statistics_go_into_no_input(place, run, output):
    assert refused(place, run, "stats build", "real", "--channels", "1", "--output", output)
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize(
    "grid", ["s/0.png", "s/7.png", "s/2-cat/1.png", "s", "s/sample-set.json", "s/.lock", "./s/../s/0.png"]
)
def test_a_grid_replaces_no_image_of_its_set(place, run, grid):
    """`--output s --grid s/0.png` replaced sample 0."""
    err = refused(place, run, "generate", "--model", "model", "--output", "s", "--seeds", "0-1", "--grid", grid)
    assert "must not take the place of an image" in err or "their folder" in err


def test_a_grid_beside_its_images_is_none_of_them(place, run):
    options = ["--model", "model", "--output", "g", "--classes", "cat", "--seeds", "0-3", "--grid", "g/all.png"]
    code, out, err = run("generate", *options)
    assert (code, err) == (0, "")
    assert out.splitlines() == ["4 images in g, 4 of them new", "all of them in g/all.png"]
    opened = open_samples(place / "g")
    assert (opened.count, opened.labels.tolist()) == (4, [2] * 4)
    assert opened.notes == ("Ignored in " + str(place / "g") + ": 1 picture of many images (all.png).",)
    shutil.rmtree(place / "g")


@pytest.mark.parametrize("npz", ["s/0.png", "s/sample-set.json", "s", "digits/pipeline_index.json", "/dev/null"])
def test_a_packed_set_replaces_nothing(place, run, npz):
    options = ["--model", "digits", "--protocol", "digits", "--count", "2"]
    assert refused(place, run, "sample-set", *options, "--output", "s", "--npz", npz)
    assert not (place / "s").exists()


def test_two_sets_are_not_mixed_in_one_folder(place, run):
    options = ["--model", "digits", "--protocol", "digits", "--count", "2", "--output", "m"]
    assert run("sample-set", *options)[0] == 0
    assert "holds one of seed 0, and now 1 is asked for" in refused(place, run, "sample-set", *options, "--seed", "1")
    (place / "m" / "sample-set.json").write_text("[1, 2]")  # F6: it says nothing, and is written anew
    assert run("sample-set", *options)[0] == 0
    assert json.loads((place / "m" / "sample-set.json").read_text())["count"] == 2
    shutil.rmtree(place / "m")


def test_files_come_first(place, run, monkeypatch):
    """`evaluate` printed before it wrote: what ends the printing ended the report."""

    def broken(*_):
        raise ZeroDivisionError("no way to print")

    monkeypatch.setattr("builtins.print", broken)
    report = place / "first"
    with pytest.raises(ZeroDivisionError, match="no way to print"):
        run("evaluate", "a", "--reference", "real.npz", "--output", report, "--json", place / "first.json")
    assert sorted(path.name for path in report.iterdir()) == ["scores.html", "scores.json", "scores.md"]
    assert (place / "first.json").read_bytes() == (report / "scores.json").read_bytes()
    with pytest.raises(ZeroDivisionError, match="no way to print"):
        run("stats build", "real", "--channels", "1", "--output", place / "again.npz")
    assert (place / "again.npz").read_bytes() == (place / "real.npz").read_bytes()
    with pytest.raises(ZeroDivisionError, match="no way to print"):
        run(
            "sample-set", "--model", "digits", "--protocol", "digits", "--count", "2", "--output", "f", "--npz", "f.npz"
        )
    assert (place / "f.npz").exists()
    for path in ("first", "f"):
        shutil.rmtree(place / path)


def test_a_full_disk_does_not_take_the_scores(place, run, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("var.files._sync", full)
    code, out, err = run("evaluate", "a", "--reference", "real.npz", "--json", place / "full.json")
    assert (code, err.count("\n")) == (2, 1)
    assert "make room" in err
    assert "FD-digits" in out
    assert not (place / "full.json").exists()


def test_half_written_outputs_of_killed_processes_go(place, run):
    left = place / ".left.json.999999999.tmp"
    left.write_text("half")
    assert run("evaluate", "a", "--reference", "real.npz", "--json", place / "left.json")[0] == 0
    assert not left.exists()


def test_statistics_say_what_they_left_out(place, run, tmp_path):
    real = draw_classes(tmp_path / "data", {"x": 1, "y": 2}, recorded=False)
    (real / "x" / "notes.txt").write_text("")
    (real / "y" / "more").mkdir()
    (real / "__MACOSX").mkdir()
    code, out, _ = run("stats build", real, "--channels", "1", "--output", tmp_path / "r.npz")
    assert code == 0
    assert f"Caution. Ignored in {real}: 1 system entry (__MACOSX)." in out
    assert "1 file that is no image (notes.txt)." in out
    assert "1 folder inside a class folder (y/more)." in out


def test_the_classes_of_an_evaluation_are_those_that_were_asked_for(place, run):
    """`var generate --classes 3 7 --output both; var evaluate both`: the labels are 3 and 7, not 0 and 1."""
    assert run("generate", "--model", "digits", "--seeds", "0-4", "--classes", "3", "7", "--output", "both")[0] == 0
    assert sorted(path.name for path in (place / "both").iterdir()) == ["3", "7"]
    assert open_samples(place / "both").labels.tolist() == [3] * 5 + [7] * 5
    save_npz(place / "both", place / "both.npz")
    with np.load(place / "both.npz") as packed:
        assert packed["arr_1"].tolist() == [3] * 5 + [7] * 5
    shutil.rmtree(place / "both")


def test_three_samples_are_judged_by_what_three_can_tell(place, run):
    """ "k must be from 1 to 2, got 3; change it", but there was no k to change."""
    assert run("generate", "--model", "digits", "--seeds", "0-2", "--classes", "3", "--output", "three")[0] == 0
    (place / "three" / "notes.txt").write_text("")
    draw_flat(place / "few", range(3))
    code, out, err = run("evaluate", "few", "--reference", "real.npz", "--json", "few.json")
    assert (code, err) == (0, "")
    assert "no precision and recall of 3 samples and 40 real images" in " ".join(out.split())
    assert "precision" not in json.loads((place / "few.json").read_text())["scores"]
    for path in ("three", "few"):
        shutil.rmtree(place / path)


def test_a_grid_beside_class_folders_is_no_image_of_the_set(run, tmp_path):
    out = tmp_path / "both"
    code, printed, _ = run(
        "generate", "--model", "model", "--classes", "0", "1", "--output", out, "--grid", out / "g.png"
    )
    assert (code, printed.splitlines()[0]) == (0, f"2 images in {out}, 2 of them new")
    opened = open_samples(out)
    assert (opened.count, opened.labels.tolist()) == (2, [0, 1])
    assert any("picture of many images (g.png)" in note for note in opened.notes)
    Image.new("L", (8, 8)).save(out / "5.png")
    with pytest.raises(UserError, match=r"must hold images or class folders, got both \('5.png'\); separate them"):
        open_samples(out)


def test_statistics_that_are_none_are_refused_before_the_network_is_got(run, place):
    for wrong, kind in (("real", "a folder"), ("nothing.npz", "missing")):
        assert kind in refused(place, run, "evaluate", "a", "--reference", wrong)
