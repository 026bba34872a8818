"""Models and a pipeline that are small enough to save a hundred times."""

import os
from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
import torch
from torch import nn

from var.errors import UserError
from var.hub import PretrainedModel, PretrainedPipeline


@dataclass(frozen=True, kw_only=True)
class TinyConfig:
    width: int
    rate: float = 0.5
    bias: bool = True
    kind: Literal["square", "round", 3] = "square"
    name: str | None = None
    sides: tuple[int | tuple[int, int], ...] = (1, 2)
    pair: tuple[str, float] = ("a", 1.0)

    def __post_init__(self):
        if self.width < 1:
            raise UserError(f"width must be positive, got {self.width}; enlarge it")


class Tiny(PretrainedModel, nn.Module):
    config_class = TinyConfig

    def __init__(self, config: TinyConfig):
        super().__init__()
        self.config = config
        self.inner = nn.Linear(config.width, config.width, bias=config.bias)
        self.head = nn.Linear(config.width, config.width, bias=False)
        self.head.weight = self.inner.weight  # tied
        self.drop = nn.Dropout(0.5)
        self.register_buffer("count", torch.tensor(3))
        self.register_buffer("mask", torch.ones(config.width), persistent=False)


class Other(PretrainedModel, nn.Module):
    config_class = TinyConfig

    def __init__(self, config: TinyConfig):
        super().__init__()
        self.config = config
        self.weight = nn.Parameter(torch.randn(config.width))


class Pair(PretrainedPipeline):
    parts: ClassVar[dict[str, type[nn.Module]]] = {"first": Tiny, "second": Other}

    def __init__(self, first, second, steps=7):
        self.first, self.second, self.steps = first, second, steps

    def settings(self):
        return {"steps": self.steps}


class Malicious:
    """Pickles as a call of os.mkdir."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def assert_same_weights(ours, theirs):
    ours, theirs = ours.state_dict(), theirs.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def one_line(message):
    return pytest.raises(UserError, match=rf"\A(?:{message}).*\Z")  # a dot takes no newline
