"""What users pass to `open_data`: paths, patterns, sizes of every library; what cannot be meant is one line."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from annotations import unchecked
from small_pictures import picture, png, shard

from var.data import open_data
from var.data.shard_names import expand_shards
from var.errors import UserError


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("some")
    for name in ("a/1.png", "b/1.png"):
        picture(root / "images" / name)
    for number in range(3):
        shard(root / "shards" / f"s-{number:03d}.tar", [(f"{number}.png", png())])
    return root


def refusal(call):
    with unchecked(), pytest.raises(UserError) as caught:
        call()
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_paths_in_every_form(place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("HOME", str(place))
    for spec in (Path("images"), Path("~/images"), "~/images", "images/", str(place / "images"), place / "images"):
        assert len(open_data(spec, size=4)) == 2
    picture(place / "digits" / "1.png")
    assert len(open_data(Path("digits"), size=4)) == 1  # a path is a place
    assert len(open_data("digits")) == 1500


@pytest.mark.parametrize(
    "spec",
    [b"images", None, 5, "", "  ", "a\0b", ["images"], "/dev/null", "/dev/zero", "x" * 5000, "\x1b]2J", "~nobody/x"],
)
def test_what_names_no_data(spec):
    assert refusal(lambda: open_data(spec, size=4)).startswith("data must be ")


@pytest.mark.parametrize(
    "size", [4, np.int64(4), np.uint8(4), (4, 4), [4, 4], np.array([4, 4]), torch.Size([4, 4]), torch.tensor(4)]
)
def test_sizes_of_every_library(place, size):
    assert open_data(place / "images", size=size, channels=np.int64(1)).shape == (1, 4, 4)
    assert open_data(place / "shards", size=size).shape == (3, 4, 4)
    assert open_data("shapes", size=(8, 8) if np.size(size) == 2 else np.int32(8)).shape == (3, 8, 8)


@pytest.mark.parametrize(
    "size", ["4", 4.0, np.float32(4), True, np.bool_(True), (4,), (4, 4, 3), [4, "4"], (4.0, 4), {}]
)
def test_sizes_that_are_none(place, size):
    rule = "the size of images must be a whole number of pixels"
    for spec in (place / "images", place / "shards", "shapes"):
        assert rule in refusal(lambda spec=spec: open_data(spec, size=size))


@pytest.mark.parametrize(
    ("size", "rule"), [(0, "at least 1x1"), (-3, "at least 1x1"), ((4, 0), "at least 1x1"), (10**9, "at most 67108864")]
)
def test_impossible_sizes(place, size, rule):
    assert rule in refusal(lambda: open_data(place / "images", size=size))


@pytest.mark.parametrize(
    ("name", "value"),
    [*[("channels", value) for value in ("3", True, 3.0)], *[("split", value) for value in (None, 5, ["train"])],
     ("on_bad_image", True)],
)  # fmt: skip
def test_other_arguments_of_wrong_types(place, name, value):
    assert name in refusal(lambda: open_data(place / "images", size=4, **{name: value}))


@pytest.mark.parametrize(
    ("spec", "numbers"),
    [
        ("s-*.tar", "012"),
        ("s-{000,001}.tar", "01"),
        ("s-{000..002}.tar", "012"),
        ("s-{000..002..2}.tar", "02"),
        ("s-00{0,{1..2}}.tar", "012"),
        ("s-{00,}{0,001}.tar", None),
        ("{s,s}-00[01].tar", None),
        ("s-00?.tar", "012"),
        ("../**/s-001.tar", "1"),
        ("{../shards/s-000,s-002}.tar", "02"),
    ],
)
def test_patterns_of_shards(place, monkeypatch, spec, numbers):
    monkeypatch.chdir(place / "shards")
    if numbers is None:
        refusal(lambda: open_data(spec, size=4))
        return
    data = open_data(spec, size=4)
    assert "".join(re.findall(r":(\d)\.png", " ".join(map(data.describe, range(len(data)))))) == numbers


@pytest.mark.parametrize(
    ("spec", "rule"),
    [
        ("x{0..99999999999}.tar", "there may be at most 100000 shards"),
        ("x{0..9}{0..9}{0..9}{0..9}{0..9}{0..9}.tar", "there may be at most 100000 shards"),
        ("{0,1}" * 21, "at most 20 braces, got 21"),
        ("x{5..1}.tar", r"braces must count upwards, got {5..1}"),
        ("x{1..5..0}.tar", "braces must count upwards"),
        ("none-*.tar", "must match tar files, got none"),
        ("s-{000,000}.tar", "every shard must be given once"),
        ("s-{000..007}.tar", "s-003.tar must be a tar file, but: No such file"),
        ("s-{x}.tar", "there is no such folder"),
        ("s-{000.tar", "there is no such folder"),
        ("../images/*", "must be a regular file, got a folder"),
    ],
)
def test_patterns_that_cannot_be_meant(place, monkeypatch, spec, rule):
    """F7: a bound that is named, at once."""
    monkeypatch.chdir(place / "shards")
    assert rule in refusal(lambda: open_data(spec, size=4))


def test_names_that_look_like_patterns(tmp_path):
    for name in ("a[0].tar", "b{0..1}.tar"):
        shard(tmp_path / name, [("1.png", png())])
        assert len(open_data(tmp_path / name, size=4)) == 1
    picture(tmp_path / "c{0,1}" / "a" / "1.png")
    assert len(open_data(tmp_path / "c{0,1}", size=4)) == 1
    assert [path.name for path in expand_shards(f"{tmp_path}/a[0].{{tar,tar}}")] == ["a[0].tar"] * 2
