"""Images that show a vector each: what batches carry, what the fingerprint says, and data that do not fit."""

from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image

from var.data import (
    ArrayData,
    RandomCrop,
    SkipBadImages,
    WithVectors,
    batches,
    fingerprint,
    open_data,
    without_images,
)
from var.data.base import Relabelled, condition_size, unwrapped
from var.errors import UserError

COUNT, WIDTH = 12, 4
VECTORS = torch.randn(COUNT, WIDTH, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(1)
    return ArrayData(torch.rand(COUNT, 1, 4, 4, generator=generator) * 2 - 1, torch.arange(COUNT) % 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for index in range(COUNT):
        path = root / "ab"[index % 2] / f"{index:02d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 9, 3), dtype=np.uint8)).save(path)
    (root / "a" / "04.png").write_bytes(b"")
    return root


def test_batches_carry_the_vectors_of_their_images(images):
    data = WithVectors(images, VECTORS.numpy())
    for batch in islice(batches(data, 4, seed=0), 5):
        assert torch.equal(batch.images, images.images[batch.indices])
        assert torch.equal(batch.labels, images.labels[batch.indices])
        assert torch.equal(batch.condition.vectors, VECTORS[batch.indices])
        assert batch.condition.given.all()
        first, second = batch.split(2)
        assert torch.equal(torch.cat((first.condition.vectors, second.condition.vectors)), batch.condition.vectors)
    assert condition_size(data) == (3, WIDTH, 0)
    assert condition_size(images) == (3, 0, 0)
    cached = next(batches(without_images(data), 4, seed=0))
    assert torch.equal(cached.condition.vectors, VECTORS[cached.indices])


def test_a_vector_may_be_all_that_is_shown(images):
    data = WithVectors(images, VECTORS, labels=False)
    batch = next(batches(data, 4, seed=0))
    assert batch.condition.labels is None
    assert torch.equal(batch.condition.vectors, VECTORS[batch.indices])
    assert condition_size(data) == (0, WIDTH, 0)
    assert data.classes == images.classes  # judges know them
    with pytest.raises(UserError, match="got a batch with vectors alone"):
        _ = batch.labels
    assert Relabelled(data, ("2", "1", "0"), "x").condition(torch.arange(2)).labels is None
    labelled = Relabelled(WithVectors(images, VECTORS), ("2", "1", "0"), "x").condition(torch.arange(2))
    assert labelled.labels.tolist() == [2, 1]
    assert torch.equal(labelled.vectors, VECTORS[:2])


def test_images_and_augmentation_are_those_of_the_data(folder):
    data = open_data(folder, size=4, on_bad_image="skip")
    inner = data.data
    wrapped = SkipBadImages(WithVectors(inner, VECTORS))
    options = {"seed": 0, "augment": RandomCrop(1.5)}
    for workers in (0, 2):
        plain, ours = (islice(batches(each, 4, workers=workers, **options), 3) for each in (data, wrapped))
        for expected, found in zip(plain, ours, strict=True):
            assert torch.equal(found.images, expected.images)
            assert torch.equal(found.condition.labels, expected.condition.labels)


def test_what_stands_for_a_bad_image_shows_its_own_vector(folder):
    data = open_data(folder, size=4, on_bad_image="skip")
    wrapped = SkipBadImages(WithVectors(data.data, VECTORS))
    bad = next(index for index in range(COUNT) if "04.png" in data.data.describe(index))
    image = wrapped.load(bad)
    place = next(index for index in range(COUNT) if index != bad and torch.equal(data.load(index), image))
    assert torch.equal(wrapped.condition(torch.tensor([bad])).vectors[0], VECTORS[place])
    with pytest.raises(UserError, match="got SkipBadImages; wrap it around them"):
        WithVectors(data, VECTORS)


def test_the_fingerprint_takes_them_in(images):
    names = [fingerprint(data) for data in (images, WithVectors(images, VECTORS))]
    names.append(fingerprint(WithVectors(images, VECTORS, labels=False)))
    names.append(fingerprint(WithVectors(images, VECTORS + 1e-6)))
    names.append(fingerprint(WithVectors(images, VECTORS.flip(0))))
    assert len(set(names)) == len(names)
    assert fingerprint(WithVectors(images, VECTORS.tolist())) == names[1]
    assert fingerprint(without_images(SkipBadImages(WithVectors(images, VECTORS)))) == names[1]
    assert fingerprint(without_images(SkipBadImages(images))) == names[0]
    assert unwrapped(SkipBadImages(WithVectors(images, VECTORS))) is images


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (VECTORS[:-1], r"one for each image, \(12, width\), got shape \(11, 4\)"),
        (VECTORS[0], r"got shape \(4,\)"),
        (VECTORS[:, :0], r"got shape \(12, 0\)"),
        ([[1.0], [1.0, 2.0]] * 6, r"got list \("),
        (VECTORS.index_fill(0, torch.tensor(7), torch.nan), "finite numbers"),
        (VECTORS > 0, "real numbers, got torch.bool"),
    ],
)
def test_vectors_that_do_not_fit(images, vectors, message):
    with pytest.raises(UserError, match=message) as caught:
        WithVectors(images, vectors)
    assert "\n" not in str(caught.value)


def sequences(length=5):
    """Of 0 to 3 parts each."""
    parts = torch.randn(COUNT, length, WIDTH, generator=torch.Generator().manual_seed(2)).half()
    return {"sequence": parts, "sequence_mask": torch.arange(length) < torch.arange(COUNT)[:, None] % 4}


def test_batches_carry_the_sequences_of_their_images_without_padding(images):
    given = sequences()
    for data in (WithVectors(images, VECTORS, **given), WithVectors(images, None, **given)):
        assert condition_size(data) == (3, 0 if data.vectors is None else WIDTH, WIDTH)
        for batch in (next(batches(each, 4, seed=0)) for each in (data, without_images(data))):
            shown = batch.condition
            assert shown.sequence.dtype == torch.float16
            assert torch.equal(shown.sequence, given["sequence"][batch.indices, :3])
            assert torch.equal(shown.sequence_mask, given["sequence_mask"][batch.indices, :3])
            assert (shown.vectors is None) == (data.vectors is None)
    whole = WithVectors(images, None, sequence=given["sequence"].float().numpy(), labels=False)
    shown = whole.condition(torch.tensor([4, 1]))
    assert torch.equal(shown.sequence, given["sequence"].float()[[4, 1]])
    assert shown.labels is shown.sequence_mask is None
    hidden = WithVectors(images, None, **sequences() | {"sequence_mask": np.zeros((COUNT, 5), dtype=bool)})
    assert hidden.condition(torch.tensor([0])).sequence.shape == (1, 0, WIDTH)


def test_workers_give_the_same_sequences(images):
    data = WithVectors(images, VECTORS, **sequences())
    here, there = (next(batches(data, 4, seed=0, workers=each, augment=RandomCrop(1.5))) for each in (0, 1))
    assert torch.equal(here.condition.sequence, there.condition.sequence)
    assert torch.equal(here.condition.sequence_mask, there.condition.sequence_mask)


def test_the_fingerprint_takes_sequences_in(images):
    given = sequences()
    several = [{}, given, given | {"sequence_mask": None}, given | {"sequence": given["sequence"].flip(0)}]
    several.append(given | {"sequence_mask": given["sequence_mask"].flip(0)})
    names = [fingerprint(WithVectors(images, VECTORS, **each)) for each in several]
    names.append(fingerprint(WithVectors(images, None, **given)))
    assert len(set(names)) == len(names)
    assert fingerprint(WithVectors(images, VECTORS, **sequences(length=9))) != names[1]  # of other features
    longer = {name: torch.cat((part, torch.zeros_like(part)), dim=1) for name, part in given.items()}
    assert fingerprint(WithVectors(images, VECTORS, **longer)) == names[1]


def test_sequences_that_do_not_fit(images):
    for changes, message in (
        ({"sequence": torch.zeros(COUNT - 1, 2, WIDTH)}, r"must be floats \(12, length, width\), .* \(11, 2, 4\)"),
        ({"sequence": torch.zeros(COUNT, WIDTH)}, r"got torch.float32 \(12, 4\)"),
        ({"sequence_mask": torch.ones(COUNT, 5)}, r"bools \(12, 5\), .* got torch.float32 \(12, 5\)"),
    ):
        with pytest.raises(UserError, match=message):
            WithVectors(images, None, **sequences() | changes)
    with pytest.raises(UserError, match="must show vectors or a sequence, got neither"):
        WithVectors(images, None)


def test_what_several_images_show_is_held_once(images):
    rows, given = torch.arange(COUNT) % 5, sequences()
    expanded = {name: part[rows] for name, part in given.items()}
    few = WithVectors(images, VECTORS[:5], rows=rows, **{name: part[:5] for name, part in given.items()})
    many = WithVectors(images, VECTORS[rows], **expanded)
    places = torch.tensor([7, 0, 11])
    found, expected = few.condition(places), many.condition(places)
    assert torch.equal(found.labels, expected.labels)
    assert torch.equal(found.vectors, expected.vectors)
    assert torch.equal(found.sequence, expected.sequence)
    assert torch.equal(found.sequence_mask, expected.sequence_mask)
    assert len(few.sequence) == 5
    assert fingerprint(few) != fingerprint(WithVectors(images, VECTORS[:5], rows=rows.flip(0)))
