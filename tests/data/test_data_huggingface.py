"""The adapter for the library `datasets`: its own data sets in memory and on disk; only the Hub is a stand-in."""

import io
import sys

import datasets
import numpy as np
import pytest
import torch
from PIL import Image

from var.data import BadImageError, HuggingFaceData, ImageData, fingerprint, open_data
from var.data.batches import load_in_order
from var.errors import UserError
from var.images import from_uint8

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 6, 3), dtype=np.uint8)
NAMES = ("cat", "dog", "emu")


def png(index):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[index]).save(buffer, "PNG")
    return buffer.getvalue()


def dataset(labels=(1, 0, 2, 1), kind=None, cut=None):
    """A data set of the library with pictures as bytes, of which each ends after `cut` of them."""
    kind = datasets.ClassLabel(names=list(NAMES)) if kind is None else datasets.Value(kind)
    pictures = [{"bytes": png(index)[:cut], "path": None} for index in range(len(labels))]
    features = datasets.Features({"image": datasets.Image(), "label": kind})
    return datasets.Dataset.from_dict({"image": pictures, "label": list(labels)}, features=features)


def test_images_labels_and_names():
    data = HuggingFaceData(dataset(), size=6)
    assert isinstance(data, ImageData)
    assert not data.dataset.features["image"].decode  # not by the library
    assert data.classes == NAMES
    assert data.labels.tolist() == [1, 0, 2, 1]
    assert len(data) == 4
    for index in range(4):
        assert torch.equal(data.load(index), from_uint8(torch.from_numpy(PIXELS[index]).permute(2, 0, 1)))
    assert data.describe(3) == "dataset[3]"


def test_data_without_labels():
    assert HuggingFaceData(dataset(), size=6, label=None).classes == ("unlabelled",)


def test_a_broken_picture_is_named():
    with pytest.raises(BadImageError, match=r"dataset\[2\] must be a whole .* got 20 bytes"):
        HuggingFaceData(dataset(cut=20), size=6).load(2)


def test_numbers_without_names_are_classes_by_their_numbers():
    assert HuggingFaceData(dataset(kind="int64"), size=6).classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("labels", "kind", "options", "message"),
    [
        ((0,), None, {"image": "picture"}, "must have a column 'picture' of images; choose one of 'image', 'label'"),
        (("a", "b"), "string", {}, "the column 'label' of dataset must hold whole numbers"),
        ((0, 1, 2, -1), None, {}, r"the labels of dataset must lie in \[0, 3\), got values from -1 to 2"),
    ],
)
def test_columns_that_cannot_be_used(labels, kind, options, message):
    with pytest.raises(UserError, match=message):
        HuggingFaceData(dataset(labels, kind), size=6, **options)


def test_a_data_set_on_disk_is_the_same_in_every_process(tmp_path):
    dataset().save_to_disk(tmp_path / "one")
    data, again = (open_data(f"hf:{tmp_path / 'one'}", size=6) for _ in range(2))
    assert fingerprint(data) == fingerprint(again)
    batches = load_in_order(data, [(0, [0, 1])], seed=0, workers=1)
    images = next(batches).images
    batches.close()
    assert torch.equal(images, torch.stack([data.load(0), data.load(1)]))


def test_pictures_may_lie_in_files_beside_the_data_set(tmp_path):
    for index, name in enumerate(NAMES[:2]):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        Image.fromarray(PIXELS[index]).save(tmp_path / "pictures" / name / "0.png")
    found = datasets.load_dataset(
        "imagefolder", data_dir=str(tmp_path / "pictures"), split="train", cache_dir=str(tmp_path / "cache")
    )
    data = HuggingFaceData(found, size=6)
    assert data.classes == NAMES[:2]
    for index in range(2):
        assert torch.equal(data.load(index), from_uint8(torch.from_numpy(PIXELS[index]).permute(2, 0, 1)))


def test_the_catalog_opens_them_by_name_and_split(tmp_path, monkeypatch):
    folder = tmp_path / "pictures"
    datasets.DatasetDict({"train": dataset(), "validation": dataset((0,))}).save_to_disk(folder)
    assert len(open_data(f"hf:{folder}", size=6)) == 4
    assert len(open_data(f"hf:{folder}", size=6, split="test", on_bad_image="skip")) == 1
    with pytest.raises(UserError, match="pictures has no split 'all'; choose one of 'train', 'validation'"):
        open_data(f"hf:{folder}", size=6, split="all")

    def offline(name):
        raise ConnectionError("offline\nand more")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(UserError, match="'me/none' must be a data set on disk or on the Hub, but: offline; check"):
        open_data("hf:me/none", size=6)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r'absent; pip install "next-scale\[stream\]"'):
        open_data("hf:me/pictures", size=6)


# The names and labels of others


def columns(image="image", **others):
    """A data set of two pictures with other columns: name to (values, feature)."""
    features = {image: datasets.Image(), **{name: feature for name, (_, feature) in others.items()}}
    cells = {image: [{"bytes": png(index), "path": None} for index in range(2)]}
    cells |= {name: values for name, (values, _) in others.items()}
    return datasets.Dataset.from_dict(cells, features=datasets.Features(features))


def whole(kind="int64"):
    return [0, 1], datasets.Value(kind)


@pytest.mark.parametrize(
    "name", ["labels", "class", "fine_label", "Label", "target", "category_id", "y", "cls", "Classes"]
)
def test_the_name_of_the_column_is_asked_for(name):
    """The row "labels of others": all images were "unlabelled" without a word."""
    data = columns(**{name: whole(), "width": whole()})
    rule = f"has no column 'label' of labels, but '{name}'; name the one that is meant, as in \"hf:NAME.label=COLUMN\""
    with pytest.raises(UserError, match=rule):
        HuggingFaceData(data, size=6)
    assert HuggingFaceData(data, size=6, label=name).labels.tolist() == [0, 1]
    assert HuggingFaceData(data, size=6, label=None).labels.tolist() == [0, 0]


def test_class_labels_are_seen_under_every_name():
    kind = datasets.ClassLabel(names=["a", "b"])
    with pytest.raises(UserError, match="but 'breed', 'colour'; name the one"):
        HuggingFaceData(columns(breed=([0, 1], kind), colour=([1, 1], kind)), size=6)
    with pytest.raises(UserError, match="has no column 'lable' of labels, but 'label'"):
        HuggingFaceData(columns(label=whole()), size=6, label="lable")


def test_data_that_have_no_labels_say_so():
    data = HuggingFaceData(columns(width=whole()), size=6)
    assert data.classes == ("unlabelled",)
    assert data.notes == ("dataset: no column of labels (image, width), so all images are one class",)


@pytest.mark.parametrize(
    ("values", "feature", "found"),
    [
        ([0.0, 1.0], datasets.Value("float32"), "got float32"),
        ([True, False], datasets.Value("bool"), "got bool"),
        (["0", "1"], datasets.Value("string"), "got string"),
        ([[0], [1]], datasets.Sequence(datasets.Value("int64")), "got "),
        ([{"a": 0}, {"a": 1}], {"a": datasets.Value("int64")}, "got "),
        ([0, None], datasets.Value("int64"), "got None at 1; drop"),
        ([0, None], datasets.ClassLabel(names=["a", "b"]), "got None at 1; drop"),
    ],
)
def test_only_whole_numbers_are_labels(values, feature, found):
    """The row "labels of others", F15 and F9."""
    with pytest.raises(UserError, match=f"the column 'label' of dataset must hold whole numbers, {found}") as caught:
        HuggingFaceData(columns(label=(values, feature)), size=6)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int32", "uint64"])
def test_whole_numbers_of_every_size(kind):
    assert HuggingFaceData(columns(label=whole(kind)), size=6).labels.tolist() == [0, 1]


def test_a_number_of_others_does_not_decide_how_many_names_are_made():
    """F7."""
    with pytest.raises(UserError, match="at most 100000 classes, labels from 0 to 99999, got a label of 999999999"):
        HuggingFaceData(columns(label=([0, 999_999_999], datasets.Value("int64"))), size=6)


@pytest.mark.parametrize("names", [["a", " "], ["a", "b\x1b[2J"], ["\u00e9", "e\u0301"], ["a", "b" * 400]])
def test_class_labels_that_cannot_be_told_apart_or_shown(names):
    with pytest.raises(UserError, match=r"dataset: (a )?class names? must"):
        HuggingFaceData(columns(label=([0, 1], datasets.ClassLabel(names=names))), size=6)


def test_columns_of_images_that_hold_none():
    with pytest.raises(UserError, match="the column 'image' of dataset must hold images: ") as caught:
        HuggingFaceData(datasets.Dataset.from_dict({"image": [1.5, 2.5]}), size=6)
    assert "\n" not in str(caught.value)
    empty = datasets.Features({"image": datasets.Image()})
    data = HuggingFaceData(datasets.Dataset.from_dict({"image": [None]}, features=empty), size=6)
    with pytest.raises(BadImageError, match=r"dataset\[0\] must be an image, got an empty cell"):
        data.load(0)


@pytest.mark.parametrize(("column", "asked"), [("genre", True), ("style_id", False), ("width", False), ("Y", True)])
def test_a_column_of_whole_numbers_may_be_meant(column, asked):
    """A sister of the row "labels of others": numbers of a name that says nothing."""
    some = columns("image", **{column: whole()})
    if asked:
        with pytest.raises(UserError, match=rf"has no column 'label' of labels, but '{column}'; name the one"):
            HuggingFaceData(some, size=6)
    else:
        assert HuggingFaceData(some, size=6).classes == ("unlabelled",)


def test_columns_are_named_on_the_command_line(tmp_path):
    columns("img", fine_label=whole(), other=whole()).save_to_disk(tmp_path / "some")
    source = f"hf:{tmp_path / 'some'}"
    data = open_data(f"{source}?image=img&label=fine_label", size=6)
    assert data.labels.tolist() == [0, 1]
    assert open_data(f"{source}?image=img&label=", size=6).classes == ("unlabelled",)
    for query, message in (
        ("?label=fine_label", r"must have a column 'image' of images; .*\?image=COLUMN"),
        ("?image=img&label=fine", "has no column 'fine' of labels, but 'fine_label'; name"),
        ("?image=img", "has no column 'label' of labels, but 'fine_label'; name"),
        ("?img=img", "columns are named by image=, label= and caption=, got 'img', which is not known"),
        ("?image=img&image=img", "got 'image', which is given twice"),
        ("?image=", "columns are named by image=, label= and caption="),
        ("?", "columns are named by image=, label= and caption="),
    ):
        with pytest.raises(UserError, match=message):
            open_data(source + query, size=6)
    (tmp_path / "some").rename(tmp_path / "odd?image=x")
    with pytest.raises(UserError, match="must have a column 'image'"):
        open_data(f"hf:{tmp_path}/odd?image=x", size=6)
