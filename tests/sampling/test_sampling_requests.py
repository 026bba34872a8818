"""What users ask of a pipeline: how many images, of which classes, from which random streams."""

import re

import jaxtyping
import numpy as np
import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_pipeline

from var.errors import UserError
from var.sampling.labels import checked_class_names, count_images, label_of, resolve_labels
from var.sampling.streams import random_streams

NAMES = ("tench, Tinca tinca", "great white shark, white-shark", "harp", "harmonica, mouth harp, harp", "10")


def draws(generators):
    return [torch.rand(3, generator=generator).tolist() for generator in generators]


@pytest.mark.parametrize(
    ("class_labels", "num_images", "seeds", "count"),
    [
        (None, None, None, 1),
        (3, None, None, 1),
        (torch.tensor(3), None, None, 1),
        ("random", None, None, 1),
        ([3], None, None, 1),
        ([3, 7], None, None, 2),
        (torch.tensor([3, 7, 1]), None, None, 3),
        (None, 4, None, 4),
        ("random", 4, None, 4),
        (3, 4, None, 4),
        (None, None, [5, 6], 2),
        ([1, 2], 2, [5, 6], 2),
    ],
)
def test_number_of_images(class_labels, num_images, seeds, count):
    assert count_images(class_labels, num_images, seeds) == count


@pytest.mark.parametrize(
    ("class_labels", "num_images", "seeds", "message"),
    [
        ([1, 2], 3, None, "class_labels for 2, num_images for 3"),
        ([1, 2], None, [5], "class_labels for 2, seeds for 1"),
        (None, 2, [5, 6, 7], "num_images for 2, seeds for 3"),
        ([1], 4, None, "class_labels for 1, num_images for 4"),
        (None, 0, None, "at least one image, got num_images for 0"),
        (None, -1, None, "at least one image"),
        ([], None, None, "at least one image, got class_labels for 0"),
    ],
)
def test_requests_that_disagree_or_ask_for_nothing(class_labels, num_images, seeds, message):
    with pytest.raises(UserError, match=message):
        count_images(class_labels, num_images, seeds)


def test_every_seed_has_its_own_stream():
    generators, seeds = random_streams(3, None, [5, 6, 5])
    assert seeds == [5, 6, 5]
    first, second, third = draws(generators)
    assert first == third != second
    assert first == torch.rand(3, generator=torch.Generator().manual_seed(5)).tolist()


def test_one_generator_seeds_all_images_and_leaves_the_global_one_alone():
    before = torch.get_rng_state()
    generators, seeds = random_streams(4, torch.Generator().manual_seed(0), None)
    again, same_seeds = random_streams(4, torch.Generator().manual_seed(0), None)
    other, _ = random_streams(4, torch.Generator().manual_seed(1), None)
    values = draws(generators)
    assert values == draws(again)
    assert values != draws(other)
    assert seeds == same_seeds
    assert len({str(value) for value in values}) == 4
    assert torch.equal(torch.get_rng_state(), before)
    repeated, _ = random_streams(4, None, seeds)
    assert draws(repeated) == values


def test_a_list_of_generators_is_used_as_it_is():
    given = [torch.Generator().manual_seed(8), torch.Generator().manual_seed(9)]
    generators, seeds = random_streams(2, given, None)
    assert generators == given
    assert seeds == [8, 9]


def test_without_a_source_every_call_differs_and_can_be_repeated():
    before = torch.get_rng_state()
    generators, seeds = random_streams(2, None, None)
    _, others = random_streams(2, None, None)
    assert len({*seeds, *others}) == 4
    assert draws(random_streams(2, None, seeds)[0]) == draws(generators)
    assert torch.equal(torch.get_rng_state(), before)


def test_impossible_sources_of_randomness():
    generator = torch.Generator()
    with pytest.raises(UserError, match="both generator and seeds"):
        random_streams(1, generator, [1])
    with pytest.raises(UserError, match="each of 3 images, got 2"):
        random_streams(3, [generator, generator], None)
    for seed in (-1, 2**63):
        with pytest.raises(UserError, match=re.escape(f"[0, 2^63), got {seed}")):
            random_streams(2, None, [3, seed])


@pytest.mark.parametrize(
    ("class_labels", "labels"),
    [
        (3, [3, 3]),
        ([3, 0], [3, 0]),
        ((3, 9), [3, 9]),
        (torch.tensor(4), [4, 4]),
        (torch.tensor([4, 5], dtype=torch.int32), [4, 5]),
        (None, [10, 10]),
    ],
)
def test_labels_as_given(class_labels, labels):
    resolved = resolve_labels(class_labels, 2, 10, [1, 2])
    assert resolved.dtype == torch.long
    assert resolved.tolist() == labels


def test_random_labels_follow_from_the_seed_of_each_image():
    labels = resolve_labels("random", 5000, 10, list(range(5000)))
    assert labels[17:20].tolist() == resolve_labels("random", 3, 10, [17, 18, 19]).tolist()
    counts = torch.bincount(labels, minlength=11)
    # Ten classes and never the null label; the spread of a uniform count is sqrt(5000 * 0.09) = 21.
    assert counts[10] == 0
    assert (counts[:10] - 500).abs().max() < 4 * 21.3


@pytest.mark.parametrize(
    ("class_labels", "message"),
    [
        (10, r"must lie in \[0, 10\), got 10; pass None"),
        ([3, -1], r"must lie in \[0, 10\), got -1"),
        (torch.tensor([0, 12]), r"must lie in \[0, 10\), got 12"),
        ([0.5, 1.0], "must be whole numbers"),
        (True, "must be whole numbers"),
        (torch.tensor([True, False]), "must be whole numbers"),
        (torch.zeros(2, 1, dtype=torch.long), "must be whole numbers"),
        (["cat", "dog"], "must be whole numbers"),
        ([2**80, 1], "must be whole numbers"),
        ("cat", "None or 'random', got 'cat'"),
        ([1, 2, 3], "each of 2 images, got 3"),
        ([1], "each of 2 images, got 1"),
    ],
)
def test_impossible_labels(class_labels, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # users meet our message, not the type checker's
    with pytest.raises(UserError, match=message):
        resolve_labels(class_labels, 2, 10, [1, 2])


@pytest.mark.parametrize(
    ("class_labels", "labels"),
    [
        ("tench", [0, 0]),
        (["Tinca  Tinca", 3], [0, 3]),
        (("great_white-SHARK", "white shark"), [1, 1]),
        (["great white shark, white-shark", "tench, tinca tinca"], [1, 0]),
        (["harp", "mouth harp"], [2, 3]),  # a main name wins over another class's synonym
        (["10", "4"], [4, 4]),  # a class's name wins over a label's number
        ([3, 4], [3, 4]),
        (torch.tensor([1, 2]), [1, 2]),
        (None, [5, 5]),
    ],
)
def test_labels_by_name(class_labels, labels):
    assert resolve_labels(class_labels, 2, 5, [1, 2], NAMES).tolist() == labels


def test_random_is_a_word_until_a_class_has_that_name():
    drawn = resolve_labels("random", 40, 3, list(range(40)), ("a", "b", "c"))
    assert set(drawn.tolist()) == {0, 1, 2}
    assert resolve_labels("random", 40, 3, list(range(40)), ("a", "random", "c")).tolist() == [1] * 40
    with pytest.raises(UserError, match="got 'random'"):
        resolve_labels(["random", "a"], 2, 3, [1, 2], ("a", "b", "c"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("trench", "known classes, got 'trench'; did you mean 'tench'"),
        ("GREAT WHITE SHARC", "did you mean 'great white shark'"),
        ("zzz", "choose one of '10', 'Tinca tinca', 'great white shark'"),
        ("5", r"must lie in \[0, 5\), got 5"),
        ("-1", "got '-1'"),
        ("", "got ''"),
    ],
)
def test_names_of_no_class(name, message):
    with pytest.raises(UserError, match=message):
        label_of(name, 5, NAMES)


def test_a_name_of_several_classes_is_refused_with_their_numbers():
    with pytest.raises(UserError, match=r"got 'crane', which is 0 \(crane\), 2 \(crane\); pass the number"):
        label_of("crane", 3, ("crane", "tern", "crane"))
    with pytest.raises(UserError, match=r"got 'panda', which is 0 \(lesser panda, panda\), 1 "):
        label_of("panda", 2, ("lesser panda, panda", "giant panda, panda"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a"], "must name 2 classes, got 1"),
        ("ab", "must be a list of words, got 'ab'"),
        (["a", 3], "must be a list of words"),
        ({"a": 1, "b": 2}, "must be a list of words"),
    ],
)
def test_impossible_class_names(names, message, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(UserError, match=message):
        checked_class_names(names, 2)


def test_class_names_as_given():
    assert checked_class_names(None, 2) is None
    assert checked_class_names(["a", "b"], 2) == ("a", "b")


def test_one_image_gets_the_same_stream_from_its_seed_its_generator_and_a_list():
    streams = [
        random_streams(1, None, [5]),
        random_streams(1, torch.Generator().manual_seed(5), None),
        random_streams(1, [torch.Generator().manual_seed(5)], None),
    ]
    assert [seeds for _, seeds in streams] == [[5], [5], [5]]
    first, second, third = (draws(generators) for generators, _ in streams)
    assert first == second == third


@pytest.mark.parametrize("as_list", [True, False])
def test_a_generator_that_was_used_goes_on_and_its_seeds_repeat_what_it_gave(as_list):
    generator = torch.Generator().manual_seed(5)
    given = [generator] if as_list else generator
    first = draws(random_streams(1, given, None)[0])
    generators, seeds = random_streams(1, given, None)
    second = draws(generators)
    assert second != first
    assert draws(random_streams(1, None, seeds)[0]) == second
    assert random_streams(1, given, None)[1] != seeds


@pytest.mark.usefixtures("_untyped")
@pytest.mark.parametrize("make", [tiny_pipeline, tiny_diffusion_pipeline])
def test_a_label_is_its_own_and_what_is_none_is_refused(make):
    pipe = make()
    assert pipe.label_of(3) == pipe.label_of(np.int64(3)) == pipe.label_of("3") == 3
    for given in (None, 2.0, [3], b"3", True):
        with pytest.raises(UserError, match=r"\Aa class label must be a whole number, got .*; correct it\Z"):
            pipe.label_of(given)
    for given in (-1, 5, 10**30):
        with pytest.raises(UserError, match=r"\Aclass labels must lie in \[0, 5\), got "):
            pipe.label_of(given)
