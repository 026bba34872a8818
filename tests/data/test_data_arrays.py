import pickle

import numpy as np
import pytest
import torch
from annotations import unchecked

from var.data import ArrayData, ImageData, digits
from var.errors import UserError
from var.images import from_uint8, to_uint8


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_uint8_arrays_round_trip(channels):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 5, channels), dtype=np.uint8)
    data = ArrayData(pixels, [0, 1, 2, 0, 1, 2], layout="channels_last")
    assert isinstance(data, ImageData)
    assert data.shape == (channels, 4, 5)
    assert len(data) == 6
    assert data.classes == ("0", "1", "2")
    assert np.array_equal(to_uint8(data.images).permute(0, 2, 3, 1), pixels)
    assert torch.equal(data.load(4), data.images[4])


def test_grey_arrays_without_a_channel_axis():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 4, 5), dtype=np.uint8)
    data = ArrayData(pixels, np.arange(6, dtype=np.int32) % 2, classes=["cat", "dog", "absent"])
    assert data.shape == (1, 4, 5)
    assert data.classes == ("cat", "dog", "absent")
    assert data.labels.dtype == torch.int64
    assert np.array_equal(to_uint8(data.images)[:, 0], pixels)


def test_float_tensors_are_taken_as_they_are():
    images = from_uint8(torch.arange(48, dtype=torch.uint8).reshape(2, 2, 3, 4))
    data = ArrayData(images.double().requires_grad_(), torch.tensor([1, 0]))
    assert data.images.dtype == torch.float32
    assert not data.images.requires_grad
    assert torch.equal(data.images, images)
    assert torch.equal(pickle.loads(pickle.dumps(data)).images, images)


GOOD = np.zeros((3, 4, 4), dtype=np.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "classes", "message"),
    [
        (GOOD.astype(np.float32), [0] * 3, None, r"must be uint8 .* got float32 of shape \(3, 4, 4\); convert"),
        (GOOD[0], [0] * 3, None, r"must be uint8 .* got uint8 of shape \(4, 4\)"),
        (GOOD[:0], [], None, r"images must not be empty, got shape \(0, 4, 4\)"),
        (torch.zeros(3, 1, 4, 4, dtype=torch.uint8), [0] * 3, None, "must be float .* got torch.uint8; convert"),
        (torch.zeros(3, 4, 4), [0] * 3, None, r"must be \(batch, channels, height, width\), got shape \(3, 4, 4\)"),
        (torch.full((3, 1, 4, 4), 2.0), [0] * 3, None, r"must lie in \[-1, 1\], got values from 2 to 2"),
        (torch.full((3, 1, 4, 4), float("nan")), [0] * 3, None, "must be finite, got NaN"),
        (GOOD, [0, 1], None, r"labels must be one per image, 3 in all, got shape \(2,\)"),
        (GOOD, np.array([[0, 1, 2]]), None, r"labels must be one per image, 3 in all, got shape \(1, 3\)"),
        (GOOD, np.array([0.0, 1.0, 2.0]), None, "labels must be integers, got torch.float64"),
        (GOOD, np.array([True, False, True]), None, "labels must be integers, got torch.bool"),
        (GOOD, np.array(["a", "b", "c"]), None, "labels must be integers, got ndarray"),
        (GOOD, [0, -1, 2], None, r"labels must lie in \[0, 3\), got values from -1 to 2"),
        (GOOD, [0, 1, 2], ["a", "b"], r"labels must lie in \[0, 2\), got values from 0 to 2"),
        (GOOD, [0, 1, 1], ["a", "a"], "class names must differ"),
        (GOOD, [0, 1, 1], "ab", "class names must be a list of texts, got one text 'ab'"),
        (GOOD, [0, 1, 1], [1, 2], "a class name must be a short line of text, got 1: it is of type int"),
        (GOOD, [0, 1, 1], ["a", " "], "it is empty"),
        (GOOD, [0, 1, 1], ["a", "b\n"], "it has a control character"),
        (GOOD, [0, 1, 1], ["a", "b" * 400], "it has 400 bytes, more than 255"),
        (GOOD, [0, 1, 1], ["\u00e9", "e\u0301"], "class names must differ"),
        (GOOD, [0, 1, 10**9], None, "at most 100000 classes, labels from 0 to 99999, got a label of 1000000000"),
        (GOOD, [0, 1, 10**30], None, "labels must be integers"),
        (GOOD, [0, 1, None], None, "labels must be integers"),
        (GOOD, [0, 1, True], None, "labels must be integers, got True or False among them"),
        (GOOD, [[0], [1, 2], [3]], None, "labels must be integers"),
        (GOOD.astype(bool), [0] * 3, None, "must be uint8 .* got bool"),
        (GOOD.astype(np.int64), [0] * 3, None, "must be uint8 .* got int64"),
        (GOOD.astype(np.uint16), [0] * 3, None, "must be uint8 .* got uint16"),
    ],
)
def test_bad_arrays_are_refused_in_one_line(images, labels, classes, message):
    with unchecked(), pytest.raises(UserError, match=message) as caught:
        ArrayData(images, labels, classes)
    assert "\n" not in str(caught.value)


OPEN = [(5, 3, 8, 8), (5, 1, 8, 8), (5, 4, 8, 8), (5, 2, 8, 8), (5, 8, 8, 2), (5, 8, 8, 5), (5, 3, 3, 3), (5, 1, 1, 3),
        (5, 4, 4, 4)]  # fmt: skip


@pytest.mark.parametrize("shape", OPEN)
def test_bytes_are_not_taken_in_a_layout_that_was_not_meant(shape):
    """The row "words not understood": (5, 3, 8, 8) became 8 channels of 3x8."""
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    with pytest.raises(UserError, match=r"it must be clear which axis holds the channels, got shape \(5, "):
        ArrayData(pixels, [0] * 5)
    first = ArrayData(pixels, [0] * 5, layout="channels_first")
    assert np.array_equal(to_uint8(first.images), pixels)
    assert torch.equal(ArrayData(pixels, [0] * 5, layout="channels_last").images, first.images.permute(0, 3, 1, 2))


@pytest.mark.parametrize("shape", [(5, 8, 6, 3), (5, 8, 6, 1), (5, 8, 8, 4), (5, 4, 4, 3), (5, 2, 9, 1), (5, 1, 1, 1)])
def test_bytes_in_the_usual_layout(shape):
    assert ArrayData(np.zeros(shape, np.uint8), [0] * 5).shape == (shape[3], shape[1], shape[2])


def test_floats_in_another_layout_or_range():
    images = torch.linspace(-1, 1, 5 * 8 * 6 * 3).reshape(5, 8, 6, 3)
    with pytest.raises(UserError, match="which channels_first would make 8 channels; move the axis"):
        ArrayData(images, [0] * 5)
    assert torch.equal(ArrayData(images, [0] * 5, layout="channels_last").images, images.permute(0, 3, 1, 2))
    assert ArrayData(images.reshape(5, 8 * 6 * 3, 1, 1), [0] * 5).shape == (144, 1, 1)
    levels = torch.arange(256).reshape(1, 1, 16, 16)
    with pytest.raises(
        UserError, match=r"must lie in \[-1, 1\], got the levels k / 255 of \[0, 1\]; scale them by 2 x - 1"
    ):
        ArrayData(levels / 255, [0])
    for fine in (levels / 127.5 - 1, levels % 2.0, torch.zeros(1, 1, 4, 4), levels / 300):
        ArrayData(fine, [0])
    with pytest.raises(UserError, match="unknown layout 'chanels_last'; did you mean 'channels_last'"):
        ArrayData(images, [0] * 5, layout="chanels_last")


def test_digits_have_the_published_sizes_and_levels():
    train, test, everything = digits("train"), digits("test"), digits("all")
    assert (len(train), len(test), len(everything)) == (1500, 297, 1797)
    assert train.shape == (1, 8, 8)
    assert train.classes == tuple("0123456789")
    levels = (everything.images + 1) * 8
    assert torch.equal(levels, levels.round())
    assert (levels.min(), levels.max()) == (0, 16)


def test_digits_are_split_by_class_without_loss_or_overlap():
    train, test, everything = digits("train"), digits("test"), digits("all")
    both = torch.cat([train.images, test.images]).flatten(1)
    assert sorted(both.tolist()) == sorted(everything.images.flatten(1).tolist())
    shares = torch.bincount(everything.labels) * 297 / 1797
    held_out = torch.bincount(test.labels)
    assert ((held_out - shares).abs() < 1).all()
    # Largest remainders: whoever was rounded up had no smaller remainder than whoever was rounded down.
    up = held_out > shares
    assert (shares % 1)[up].min() >= (shares % 1)[~up].max()


def test_digits_split_never_moves():
    # Golden: scores of different versions are comparable only while the held-out images are the same.
    assert digits("test").labels[:20].tolist() == [0, 1, 2, 3, 0, 2, 1, 2, 6, 7, 6, 6, 5, 2, 6, 3, 1, 3, 7, 4]
    assert int(((digits("test").images + 1) * 8).sum()) == 92747


def test_digits_with_an_unknown_split():
    with pytest.raises(UserError, match="unknown split 'tset' of the digits; did you mean 'test'"):
        digits("tset")


def test_digits_without_scikit_learn(monkeypatch):
    from var.data.named.digits import _load

    _load.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    with pytest.raises(UserError, match=r'pip install "next-scale\[compare\]"'):
        digits()


def test_digits_may_be_changed_by_one_user_without_harm_to_another():
    first = digits("test")
    first.images.zero_()
    assert digits("test").images.abs().sum() > 0


def test_both_names_are_functions_whatever_was_imported_first():
    import var.data.batches
    import var.data.named.digits

    assert callable(var.data.batches)
    assert callable(var.data.digits)
