"""One of several by a uniform number: the cumulative distribution inverted."""

import math

import pytest
import torch

from var.sampling.choosing import chosen_by


def test_a_uniform_number_falls_into_the_share_of_its_choice() -> None:
    logits = torch.tensor([0.1, 0.2, 0.7]).log().expand(6, 3)
    uniform = torch.tensor([0.0, 0.099, 0.101, 0.299, 0.301, 1 - 2**-24])
    assert chosen_by(logits, uniform).tolist() == [0, 0, 1, 1, 2, 2]


def test_what_is_ruled_out_is_never_chosen_not_even_at_the_ends() -> None:
    logits = torch.tensor([-math.inf, 0.0, -math.inf, 1.0, -math.inf]).expand(2, 5)
    assert chosen_by(logits, torch.tensor([0.0, 1 - 2**-24])).tolist() == [1, 3]


@pytest.mark.parametrize("count", [2, 100])
def test_evenly_spread_numbers_choose_by_softmax(count: int) -> None:
    logits = torch.randn(count, generator=torch.Generator().manual_seed(0))
    uniform = (torch.arange(100_000) + 0.5) / 100_000
    shares = chosen_by(logits.expand(100_000, count), uniform).bincount(minlength=count) / 100_000
    # An interval holds as many evenly spread points as its length says, but for one at its ends and what rounds.
    assert (shares - logits.softmax(0)).abs().max().item() < 2e-5


def test_the_middle_of_each_interval_of_a_large_vocabulary_chooses_it() -> None:
    shares = torch.randn(4096, generator=torch.Generator().manual_seed(0)).double().softmax(0)
    middles = shares.cumsum(0) - shares / 2
    wide = shares > 1e-5  # narrower ones are within what float32 rounds a cumulative sum of 4096 terms by
    assert int(wide.sum()) > 3900
    chosen = chosen_by(shares.log().float().expand(int(wide.sum()), 4096), middles[wide].float())
    assert chosen.tolist() == wide.nonzero().flatten().tolist()


def test_logits_of_any_shape_are_taken_and_nan_stays_an_index() -> None:
    chosen = chosen_by(torch.full((2, 3, 5), math.nan), torch.rand(2, 3, generator=torch.Generator().manual_seed(0)))
    assert chosen.shape == (2, 3)
    assert bool(((chosen >= 0) & (chosen < 5)).all())
