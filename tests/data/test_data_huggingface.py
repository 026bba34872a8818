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
