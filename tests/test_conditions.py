"""What images are asked to show: nothing, the half of a batch that guidance needs, drops, and other kinds."""

from dataclasses import dataclass

import pytest
import torch

from var.conditions import ClassEmbedding, Condition, guided
from var.errors import UserError


@dataclass(frozen=True)
class Pointed(Condition):
    point: torch.Tensor  # (batch, 2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_rows_are_dropped_with_their_probability():
    condition = Condition.of(torch.arange(20000) % 5)
    dropped = condition.dropped(0.1, generator())
    count = int((~dropped.given).sum())
    assert abs(count - 2000) < 4 * (20000 * 0.1 * 0.9) ** 0.5
    assert torch.equal(dropped.labels, condition.labels)
    assert torch.equal(dropped.given, condition.dropped(0.1, generator()).given)
    assert not torch.equal(dropped.given, condition.dropped(0.1, generator(1)).given)
    assert condition.given.all()
    # What is dropped once stays so.
    assert not (dropped.dropped(0.5, generator(2)).given & ~dropped.given).any()


def test_rows_are_never_or_always_dropped_at_the_extremes():
    condition = Condition.of(torch.arange(1000) % 5)
    assert condition.dropped(0.0, generator()).given.all()
    assert not condition.dropped(1.0, generator()).given.any()


@torch.no_grad()
def test_what_is_not_given_has_the_last_vector():
    embedding = ClassEmbedding(3, 2)
    assert list(embedding.state_dict()) == ["weight"]
    assert embedding.weight.shape == (4, 2)
    condition = Condition(torch.tensor([0, 2, 1, 3]), torch.tensor([True, False, True, True]))
    assert torch.equal(embedding(condition), embedding.weight[[0, 3, 1, 3]])  # 3 is the null label
    assert torch.equal(embedding(condition.null()), embedding.weight[[3] * 4])


def test_labels_out_of_range_are_refused():
    embedding = ClassEmbedding(3, 2)
    embedding.check(Condition.of(torch.tensor([0, 3])))
    embedding.check(Condition.of(torch.tensor([], dtype=torch.long)))
    for wrong, found in (([-1, 2], "-1 to 2"), ([0, 4], "0 to 4")):
        with pytest.raises(UserError, match=rf"labels must lie in \[0, 3\] \(3 is the null label\), got {found}"):
            embedding.check(Condition.of(torch.tensor(wrong)))


def test_the_second_half_asks_for_nothing():
    condition = Pointed(torch.tensor([1, 2]), torch.tensor([True, True]), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    both = condition.with_null()
    assert isinstance(both, Pointed)
    assert len(both) == 4
    assert both.labels.tolist() == [1, 2, 1, 2]
    assert both.given.tolist() == [True, True, False, False]
    assert torch.equal(both.point, condition.point.repeat(2, 1))
    assert condition.given.all()
    assert condition.to("meta").point.is_meta


def test_guided_predictions():
    cond, null = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    both = torch.cat((cond, null))
    torch.testing.assert_close(guided(both, 2.5), null + 2.5 * (cond - null))
    assert torch.equal(guided(both, 1.0), cond)
    assert torch.equal(guided(both, 0.0), null)
