"""Seeds as users write them, and the files that they belong in."""

import pytest

from var.errors import UserError
from var.sampling.seeds import parse_seeds
from var.sampling.work import Item, WorkList, class_folder, existing


def test_numbers_ranges_and_lists():
    seeds = parse_seeds(["7", "0-2", "20,11-12"])
    assert list(seeds) == [7, 0, 1, 2, 20, 11, 12]
    assert [seeds[index] for index in range(seeds.count)] == list(seeds)
    assert 11 in seeds
    assert 3 not in seeds
    with pytest.raises(IndexError):
        seeds[7]


def test_a_range_of_any_length_costs_nothing():
    seeds = parse_seeds([f"0-{2**63 - 1}"])
    assert seeds.count == 2**63
    assert seeds[10**18] == 10**18
    assert 2**62 in seeds


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["5-2"], "must run upwards, got '5-2'; write 2-5"),
        (["a-b"], "whole numbers from 0 on or ranges of them, got 'a-b'"),
        (["-5"], "got '-5'"),
        (["1.5"], "got '1.5'"),
        (["1,,2"], "got ''"),
        ([""], "got ''"),
        (["3-"], "got '3-'"),
        (["1-2-3"], "got '1-2-3'"),
        (["²"], "got '²'"),
        ([str(2**63)], r"must lie in \[0, 2\^63\)"),
        (["9" * 5000], r"must lie in \[0, 2\^63\)"),
        (["0-5", "5"], "seeds must differ, got 5 more than once"),
        (["4", "4"], "got 4 more than once"),
    ],
)
def test_other_texts_are_refused(texts, message):
    with pytest.raises(UserError, match=message):
        parse_seeds(texts)


def test_every_class_gets_every_seed():
    work = WorkList(parse_seeds(["5", "0-1"]), {"2-eel": 2, "0-cat": 0})
    assert work.count == 6
    assert [work[index] for index in range(6)] == [
        Item("2-eel/5.png", 5, 2),
        Item("2-eel/0.png", 0, 2),
        Item("2-eel/1.png", 1, 2),
        Item("0-cat/5.png", 5, 0),
        Item("0-cat/0.png", 0, 0),
        Item("0-cat/1.png", 1, 0),
    ]


def test_names_of_class_folders():
    assert class_folder(1, "goldfish, Carassius auratus", 1000) == "001-goldfish"
    assert class_folder(207, "golden retriever", 1000) == "207-golden-retriever"
    assert class_folder(3, "3", 10) == "3"
    assert class_folder(3, "3", 11) == "03"
    assert class_folder(4, "../é//x", 10) == "4-x"
    assert class_folder(4, "蛇", 10) == "4"


def test_existing_images_are_found_by_their_names(tmp_path):
    for name in ("3.png", "4.png", "04.png", "12.png", "3.jpg", "x.png", "-3.png", ".5.png.1.tmp"):
        (tmp_path / name).touch()
    work = WorkList(parse_seeds(["0-9"]), {"": lambda seed: seed % 2})
    assert sorted(existing(work, tmp_path), key=lambda item: item.seed) == [Item("3.png", 3, 1), Item("4.png", 4, 0)]
    assert list(existing(work, tmp_path / "nowhere")) == []
