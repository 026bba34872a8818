import gc
import itertools
import json
import multiprocessing
import pickle
from itertools import islice

import numpy as np
import pytest
import torch
from annotations import unchecked
from PIL import Image
from processes import is_group_running, is_running, wait_until

from var.data import ArrayData, Compose, FolderData, HorizontalFlip, RandomCrop, Shift, batches, without_images
from var.errors import UserError
from var.images import from_uint8

AUGMENT = Compose([HorizontalFlip(), Shift(1, fill=-1.0)])


@pytest.fixture(scope="module")
def data():
    pixels = np.random.default_rng(0).integers(0, 256, (23, 4, 4, 3), dtype=np.uint8)
    return ArrayData(pixels, np.arange(23) % 4)


def take(count, *args, **options):
    return list(islice(batches(*args, **options), count))


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        for name in ("images", "labels", "indices"):
            assert torch.equal(getattr(one, name), getattr(other, name))


def test_an_epoch_shows_every_image_exactly_once():
    data = ArrayData(np.zeros((24, 2, 2), np.uint8), [0] * 24)
    orders = []
    for start_step in (0, 4, 8):
        epoch = take(4, data, 6, seed=0, start_step=start_step)
        orders.append(torch.cat([batch.indices for batch in epoch]).tolist())
        assert sorted(orders[-1]) == list(range(24))
    assert len({tuple(order) for order in orders}) == 3


def test_what_is_left_over_is_dropped_and_never_doubled(data):
    epoch = torch.cat([batch.indices for batch in take(3, data, 7, seed=0)]).tolist()
    assert len(set(epoch)) == 21


def test_images_and_labels_belong_to_the_indices(data):
    for batch in take(7, data, 5, seed=1):
        assert torch.equal(batch.images, data.images[batch.indices])
        assert torch.equal(batch.labels, data.labels[batch.indices])


@pytest.mark.parametrize("augment", [None, AUGMENT])
@pytest.mark.parametrize("start_step", [1, 4, 5, 13])
def test_starting_at_a_step_equals_skipping_to_it(data, augment, start_step):
    whole = take(16, data, 5, seed=3, augment=augment)
    assert_same(take(16 - start_step, data, 5, seed=3, augment=augment, start_step=start_step), whole[start_step:])


def test_another_seed_gives_another_order_and_other_augmentation(data):
    one, two = (take(4, data, 5, seed=seed, augment=AUGMENT) for seed in (0, 1))
    assert any(not torch.equal(a.indices, b.indices) for a, b in zip(one, two, strict=True))


def by_epoch_and_index(some, per_epoch):
    seen = {}
    for step, batch in enumerate(some):
        for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
            seen[step // per_epoch, index] = image
    return seen


def test_augmentation_depends_on_seed_epoch_and_index_only(data):
    small = by_epoch_and_index(take(22, data, 2, seed=0, augment=AUGMENT), 11)
    large = by_epoch_and_index(take(4, data, 11, seed=0, augment=AUGMENT), 2)
    both = small.keys() & large.keys()
    assert len(both) >= 40
    assert all(torch.equal(small[key], large[key]) for key in both)
    repeated = [index for index in range(23) if {(0, index), (1, index)} <= small.keys()]
    assert any(not torch.equal(small[0, index], small[1, index]) for index in repeated)


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("augment", [None, AUGMENT])
def test_ranks_share_the_global_batch_without_loss_or_doubling(data, world_size, augment):
    whole = take(8, data, 6, seed=5, augment=augment)
    ranks = [
        take(8, data, 6 // world_size, seed=5, augment=augment, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    for step, expected in enumerate(whole):
        parts = [rank[step] for rank in ranks]
        for name in ("images", "labels", "indices"):
            assert torch.equal(torch.cat([getattr(part, name) for part in parts]), getattr(expected, name))


def test_the_global_stream_is_left_alone(data):
    state = torch.random.get_rng_state()
    take(9, data, 5, seed=0, augment=AUGMENT)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_batches_do_not_alias_the_data(data):
    before = data.images.clone()
    for batch in take(2, data, 5, seed=0) + take(2, data, 5, seed=0, augment=Shift(0)):
        batch.images.fill_(9)
    assert torch.equal(data.images, before)


def test_batch_moves_to_a_device(data):
    (batch,) = take(1, data, 5, seed=0)
    moved = batch.to("meta")
    assert moved.images.is_meta
    assert moved.labels.is_meta
    assert torch.equal(moved.indices, batch.indices)  # which serve look-ups on the host


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 24}, r"at least one global batch of 24 images \(batch size 24 x 1 .*got 23; lower"),
        ({"batch_size": 12, "world_size": 2}, "one global batch of 24 images"),
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"start_step": -1}, "start_step must be 0 or more, got -1"),
        ({"workers": -1}, "workers must be 0 or more, at most .*, got -1"),
        ({"world_size": 0}, "world_size must be 1 or more, got 0"),
        ({"rank": -1}, "rank must be 0 or more, got -1"),
        ({"rank": 2, "world_size": 2}, r"rank must lie in \[0, 2\), got 2"),
        ({"workers": 1, "augment": lambda image, generator: image}, "must be picklable .*workers=0"),
    ],
)
def test_impossible_numbers_are_refused_before_the_first_batch(data, options, message):
    with pytest.raises(UserError, match=message):
        batches(data, **{"batch_size": 4, "seed": 0} | options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for index in range(12):
        place = root / "ab"[index % 2]
        place.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(place / f"{index}.png")
    return FolderData(root, size=6)


def test_two_workers_give_the_same_batches_as_none(folder):
    options = {"seed": 2, "augment": AUGMENT, "start_step": 1}
    state = torch.random.get_rng_state()
    stream = batches(folder, 4, workers=2, **options)
    assert_same(list(islice(stream, 7)), take(7, folder, 4, **options))
    stream.close()
    gc.collect()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert multiprocessing.active_children() == []


def test_workers_ignore_the_signals_of_others_and_end_with_a_consumer_that_forgets_them(forker, tmp_path):
    """Where it is killed, tests/training/test_training_signals.py looks."""
    consumer = forker.start("data_consumers.consumer", tmp_path / "output", tmp_path / "workers.json")
    status = forker.wait(consumer)
    assert (status, (tmp_path / "output").read_text()) == (0, "")
    workers = json.loads((tmp_path / "workers.json").read_text())
    assert len(workers) == 2
    wait_until(lambda: not any(map(is_running, workers)))
    wait_until(lambda: not is_group_running(consumer))  # nor the helpers that Python starts


def test_data_without_images_need_no_decoding_and_no_workers(folder):
    data = without_images(folder)
    plain = take(4, folder, 4, seed=0)
    for batch, whole in zip(take(4, data, 4, seed=0, workers=2, augment=None), plain, strict=True):
        assert batch.images.shape == (4, 3, 0, 0)
        assert torch.equal(batch.indices, whole.indices)
        assert torch.equal(batch.labels, whole.labels)
    assert multiprocessing.active_children() == []
    assert take(1, data, 4, seed=0, augment=AUGMENT)[0].images.shape == (4, 3, 0, 0)
    assert data.describe(3) == folder.describe(3)
    assert len(data) == 12


def test_a_framing_sees_the_whole_pictures_of_a_folder(folder):
    crop = RandomCrop(1)
    (batch,) = take(1, folder, 12, seed=0, augment=Compose([crop, HorizontalFlip(1)]))
    for index, image in zip(batch.indices.tolist(), batch.images, strict=True):
        picture = Image.open(folder.paths[index]).resize((6, 8), Image.Resampling.BICUBIC)  # covers 6x6
        expected = from_uint8(torch.from_numpy(np.array(picture)).permute(2, 0, 1)).flip(-1)
        assert any(torch.equal(image, expected[:, top : top + 6]) for top in range(3))
    assert batch.images.shape == (12, 3, 6, 6)


def test_a_broken_file_is_one_line_from_a_worker_too(folder):
    broken = pickle.loads(pickle.dumps(folder))
    broken.paths = [*broken.paths[:5], broken.root / "absent.png", *broken.paths[6:]]
    with pytest.raises(UserError, match=r"absent\.png must lead to a file") as caught:
        for _ in itertools.islice(batches(broken, 12, seed=0, workers=1), 1):
            pass
    assert "\n" not in str(caught.value)
    assert multiprocessing.active_children() == []  # at once, though the error still holds what it came through


@pytest.mark.parametrize("workers", [10**12, 10**6, -1, 1.5, "2", True, None])
def test_processes_are_not_started_without_end(data, workers):
    """F16: 10^12 workers were begun, one after another."""
    with unchecked(), pytest.raises(UserError, match=r"workers must be 0 or more, at most \d+ here, got"):
        batches(data, 4, seed=0, workers=workers)


@pytest.mark.parametrize("name", ["batch_size", "start_step", "rank", "world_size", "seed"])
def test_numbers_of_every_library_and_none(data, name):
    values = {"batch_size": 4, "start_step": 0, "rank": 0, "world_size": 1, "seed": 3}
    given = [values | {name: np.int64(values[name])}, values]
    one, other = (next(batches(data, **each)) for each in given)
    assert torch.equal(one.indices, other.indices)
    for value in ("4", 1.5, True, None):
        with unchecked(), pytest.raises(UserError, match=f"{name} must be .*, got"):
            batches(data, **values | {name: value})
