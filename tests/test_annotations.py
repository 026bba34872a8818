"""The checker that the tests put over both packages."""

import sys
from importlib import import_module

import annotations
import pytest
import torch
from annotations import unchecked
from jaxtyping import TypeCheckError, config

from var.images import to_uint8

SOURCE = """
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, Self

from jaxtyping import Float
from torch import Tensor


class Named(Protocol):
    name: str


@dataclass(frozen=True)
class Pair:
    left: Float[Tensor, "n"]
    right: Float[Tensor, "n"]
    scale: float = 1.0

    def doubled(self) -> Self:
        return self

    @staticmethod
    def turned(pair: "Pair") -> "Pair":
        return pair

    @property
    def count(self) -> int:
        return self.scale


@dataclass
class ThingConfig:
    width: int


def mean(maps: Float[Tensor, "b c h w"], weights: Float[Tensor, "b"]) -> Float[Tensor, "c h w"]:
    inner = outer(weights, weights[:1])
    return maps.mean(0) if inner.numel() else maps


def outer(a: Float[Tensor, "b"], b: Float[Tensor, "c"]) -> Float[Tensor, "b c"]:
    return a[:, None] * b


def wrong(a: Float[Tensor, "b"]) -> Float[Tensor, "b"]:
    return a[:1]


def greeting(named: Named, times: int = 1) -> "list[str]":
    return [named.name] * times


def counted(to: "Later") -> Iterator[int]:
    yield from range(to)


def plain(anything):
    return anything
"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """A module of the package `annotated`, which is checked."""
    folder = tmp_path_factory.mktemp("annotated")
    (folder / "annotated").mkdir()
    (folder / "annotated" / "__init__.py").touch()
    (folder / "annotated" / "seen.py").write_text(SOURCE)
    sys.path.insert(0, str(folder))
    annotations.install("annotated")
    yield import_module("annotated.seen")
    sys.path.remove(str(folder))
    del sys.meta_path[0], sys.modules["annotated"], sys.modules["annotated.seen"]


def test_axes_agree_over_arguments_and_the_result(seen):
    maps = torch.zeros(2, 3, 4, 5)
    assert seen.mean(maps, torch.ones(2)).shape == (3, 4, 5)  # and the call inside has axes of its own
    for arguments in ((maps, torch.ones(3)), (maps[0], torch.ones(2)), (maps.int(), torch.ones(2)), (maps, None)):
        with pytest.raises(TypeCheckError):
            seen.mean(*arguments)
    assert seen.wrong(torch.ones(1)).shape == (1,)
    with pytest.raises(TypeCheckError):
        seen.wrong(torch.ones(2))


def test_a_dataclass_checks_its_fields_and_its_methods(seen):
    pair = seen.Pair(torch.ones(2), torch.ones(2), scale=3)  # an int is a float
    assert pair.doubled() is seen.Pair.turned(pair) is pair
    for fields in ((torch.ones(2), torch.ones(3)), (torch.ones(2), torch.ones(2), "3")):
        with pytest.raises(TypeCheckError):
            seen.Pair(*fields)
    with pytest.raises(TypeCheckError):
        seen.Pair(torch.ones(2), torch.ones(2), 0.5).count  # noqa: B018
    assert seen.ThingConfig("wide").width == "wide"  # which checks itself


def test_types_named_by_texts_protocols_and_generators(seen):
    thing = type("Thing", (), {"name": "a"})()
    assert seen.greeting(thing, 2) == ["a", "a"]
    for arguments in ((object(),), (thing, "2")):
        with pytest.raises(TypeCheckError):
            seen.greeting(*arguments)
    assert list(seen.counted(3)) == [0, 1, 2]
    assert seen.plain("x") == "x"


def test_nothing_is_checked_where_users_make_mistakes(seen):
    with unchecked():
        assert seen.wrong(torch.ones(2)).shape == (1,)
        assert seen.greeting(type("Thing", (), {"name": 1})(), True) == [1]
    assert not config.jaxtyping_disable
    with pytest.raises(TypeCheckError):
        seen.wrong(torch.ones(2))


def test_later_calls_are_taken_to_be_like_the_first_ones(monkeypatch):
    monkeypatch.setattr(annotations, "CALLS", 2)

    def half(number: int) -> int:
        return number // 2

    function = annotations.checked(half)
    for _ in range(2):
        with pytest.raises(TypeCheckError):
            function(3.0)
    assert function(3.0) == 1.0


@pytest.mark.parametrize("name", ["var.images", "diffusion_baseline.unet"])
def test_both_packages_are_checked(name):
    assert import_module(name).__checked__ is annotations.checked


def test_what_is_called_often_was_checked_at_first():
    with pytest.raises(TypeCheckError):
        annotations.checked(to_uint8.__wrapped__)("no image")
