import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from var.cli import main
from var.data import ArrayData, open_data, shapes
from var.data.named import NAMED
from var.errors import UserError


def picture(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(path)


def test_digits_by_name():
    assert len(open_data("digits", split="test")) == 297
    assert len(open_data("digits", size=8, channels=1)) == 1500
    assert len(open_data("digits", split="val")) == 297
    assert open_data("digits").describe(12) == "digits[12]"


def test_shapes_by_name():
    assert open_data("shapes").shape == (3, 32, 32)
    test = open_data("shapes", split="val", size=(16, 16), channels=3)
    assert (len(test), test.shape) == (5000, (3, 16, 16))
    assert torch.equal(test.load(3), shapes("test", size=16).load(3))


def test_a_folder_by_path(tmp_path, monkeypatch):
    picture(tmp_path / "cat" / "1.png")
    picture(tmp_path / "train" / "1.png")  # a class of vehicles
    data = open_data(str(tmp_path), size=4)
    assert data.classes == ("cat", "train")
    assert data.shape == (3, 4, 4)
    assert open_data(str(tmp_path), size=(4, 6), channels=1).shape == (1, 4, 6)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(open_data("~", size=4, split="all")) == 2


def test_a_folder_with_splits(tmp_path):
    for name in ("train/a/1.png", "train/a/2.png", "train/b/1.png", "test/a/1.png", "test/b/2.png"):
        picture(tmp_path / name)
    assert len(open_data(str(tmp_path), size=4)) == 3
    assert len(open_data(str(tmp_path), size=4, split="test")) == 2
    with pytest.raises(UserError, match="has no split 'all'; choose one of 'test', 'train'"):
        open_data(str(tmp_path), size=4, split="all")
    assert len(open_data(str(tmp_path), size=4, split="val")) == 2
    picture(tmp_path / "validation/b/3.png")
    data = open_data(str(tmp_path), size=4, split="val")
    assert [str(path.relative_to(tmp_path)) for path in data.paths] == ["validation/b/3.png"]
    assert data.labels.tolist() == [1]  # as in the training images


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("digts", {}, "got 'digts', but there is no such folder; did you mean 'digits'"),
        ("digits", {"size": 16}, "the digits are 8x8, got size 16x16"),
        ("digits", {"channels": 3}, "the digits have 1 channel, got channels=3"),
        ("digits", {"split": "valid"}, "unknown split 'valid'; did you mean 'val'"),
        ("shapes", {"size": (16, 8)}, "the shapes are square, got size 16x8"),
        ("shapes", {"channels": 1}, "the shapes have 3 channels, got channels=1"),
        ("shape", {}, "got 'shape', but there is no such folder; did you mean 'shapes'"),
        ("{folder}", {}, "images of a folder need a size, got none"),
        ("{folder}", {"size": 4, "split": "test"}, "must have folders 'train' and 'test'"),
        ("{folder}/a/1.png", {"size": 4}, "1.png', but it is a file"),
    ],
)
def test_what_cannot_be_opened(tmp_path, spec, options, message):
    picture(tmp_path / "a" / "1.png")
    with pytest.raises(UserError, match=message):
        open_data(spec.format(folder=tmp_path), **options)


def test_a_new_named_data_set_is_one_module(monkeypatch, tmp_path, capsys):
    def open_grey(split, size, channels):
        height, width = size or (4, 4)
        return ArrayData(torch.zeros(6, channels or 3, height, width), [0, 1] * 3, classes=[split, "other"])

    module = ModuleType("grey")
    module.open_grey = open_grey
    monkeypatch.setitem(sys.modules, "grey", module)
    monkeypatch.setitem(NAMED, "grey", "grey")
    data = open_data("grey", split="val", size=5, channels=1)
    assert (len(data), data.shape, data.classes) == (6, (1, 5, 5), ("test", "other"))
    assert open_data("grey").shape == (3, 4, 4)
    with pytest.raises(UserError, match="no such folder; did you mean 'grey'"):
        open_data("gray")
    assert main(["data", "write", "grey", str(tmp_path / "png"), "--quiet"]) == 0
    assert "wrote 6 images of 2 classes" in capsys.readouterr().out


def test_options_of_named_data(monkeypatch):
    def open_grey(split, size, channels, *, word="plain", words=("one",), bright=False):
        return ArrayData(torch.zeros(2, 1, 4, 4), [0, 1], classes=[f"{split} {word} {words}", f"{bright}"])

    module = ModuleType("grey")
    module.open_grey = open_grey
    monkeypatch.setitem(sys.modules, "grey", module)
    monkeypatch.setitem(NAMED, "grey", "grey")
    assert open_data("grey").classes == ("train plain ('one',)", "False")
    assert open_data("grey?word=a=b&words=two,three&bright=Yes").classes == ("train a=b ('two', 'three')", "True")
    assert open_data("grey?word=w", words=["two"], bright=True).classes == ("train w ('two',)", "True")
    assert open_data("grey", split="val").classes[0].startswith("test"), "val stands for test"
    monkeypatch.setattr(module, "SPLITS", ("train", "val", "test"), raising=False)
    assert open_data("grey", split="val").classes[0].startswith("val"), "but where there is one"


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("digits", {"styles": "noto"}, "unknown option 'styles' of the data 'digits'; leave it out, there are none"),
        ("digits?size=8", {}, "unknown option 'size' of the data 'digits'"),
        ("emoji?label=category", {}, "unknown option 'label' of the data 'emoji'; did you mean 'labels'"),
        ("emoji?labels=category", {"labels": "category"}, "may be given once, got 'labels' twice"),
        ("emoji?labels=category&labels=category", {}, "may be given once, got 'labels' twice"),
        ("emoji?", {}, "are written as NAME.option=value&option=value, got 'emoji.'; correct it"),
        ("emoji?labels", {}, "are written as"),
        ("emoji?labels=", {}, "are written as"),
        ("emoji?=category", {}, "are written as"),
        ("emojy?labels=category", {}, "did you mean 'emoji'"),
        ("{folder}", {"size": 4, "labels": "category"}, "only data with a name take the option 'labels'"),
    ],
)
def test_wrong_options_are_errors(tmp_path, spec, options, message):
    picture(tmp_path / "a" / "1.png")
    with pytest.raises(UserError, match=message):
        open_data(spec.format(folder=tmp_path), **options)
