"""From logits to tokens: which codes stay, how often they are drawn, and what it costs."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from var.errors import UserError
from var.generation.draws import PerImageDraws
from var.generation.logits import Candidates, candidates
from var.generation.sampling_settings import SamplingSettings

PROBABILITIES = [0.05, 0.4, 0.15, 0.3, 0.1]


def logits_of(probabilities=PROBABILITIES):
    return torch.tensor(probabilities).log()[None, None]


def kept(**settings):
    """The codes that may still be drawn, likeliest first, with their probabilities."""
    choice = candidates(logits_of(), SamplingSettings(**settings))
    shares = choice.logits[0, 0].softmax(-1)
    codes = range(5) if choice.codes is None else choice.codes[0, 0].tolist()
    pairs = sorted(((float(share), code) for share, code in zip(shares, codes, strict=True) if share > 0), reverse=True)
    return {code: share for share, code in pairs}


def streams(count, seed=0):
    return [torch.Generator().manual_seed(seed + index) for index in range(count)]


class Operations(TorchDispatchMode):
    """Records the operations that run, with the sizes of what they read."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        sizes = [tuple(a.shape) for a in args if isinstance(a, torch.Tensor)]
        self.seen.append((func.__name__.split(".")[0], sizes))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("settings", "codes"),
    [
        ({}, [1, 3, 2, 4, 0]),
        ({"top_k": 1}, [1]),
        ({"top_k": 3}, [1, 3, 2]),
        ({"top_k": 5}, [1, 3, 2, 4, 0]),
        ({"top_k": 99}, [1, 3, 2, 4, 0]),
        ({"top_p": 0.01}, [1]),
        ({"top_p": 0.39}, [1]),
        ({"top_p": 0.41}, [1, 3]),
        ({"top_p": 0.69}, [1, 3]),
        ({"top_p": 0.84}, [1, 3, 2]),
        ({"top_p": 0.999}, [1, 3, 2, 4, 0]),
        ({"top_p": 1.0}, [1, 3, 2, 4, 0]),
        ({"top_k": 2, "top_p": 0.99}, [1, 3]),
        # Of the first three, with 0.4, 0.3 and 0.15 of 0.85, the first two hold 0.82.
        ({"top_k": 3, "top_p": 0.81}, [1, 3]),
        ({"top_k": 3, "top_p": 0.83}, [1, 3, 2]),
        # A share of the likeliest, which has 0.4; what top-k and top-p leave over does not move it.
        ({"min_p": 1.0}, [1]),
        ({"min_p": 0.76}, [1]),
        ({"min_p": 0.74}, [1, 3]),
        ({"min_p": 0.24}, [1, 3, 2, 4]),
        ({"min_p": 1e-6}, [1, 3, 2, 4, 0]),
        ({"min_p": 0.3, "top_k": 2}, [1, 3]),
        ({"min_p": 0.3, "top_p": 0.99}, [1, 3, 2]),
        ({"min_p": 0.74, "top_p": 0.41}, [1, 3]),
        ({"min_p": 0.26, "top_p": 0.39}, [1]),
    ],
)
def test_which_codes_stay(settings, codes):
    found = kept(**settings)
    assert list(found) == codes
    total = sum(PROBABILITIES[code] for code in codes)
    for code, share in found.items():
        assert share == pytest.approx(PROBABILITIES[code] / total, rel=1e-5)


def test_temperature_divides_the_logits():
    found = kept(temperature=2.0)
    roots = [p**0.5 for p in PROBABILITIES]
    assert found == pytest.approx({code: root / sum(roots) for code, root in enumerate(roots)}, rel=1e-5)
    # The set that top-p keeps is that of the tempered distribution.
    assert len(kept(temperature=5.0, top_p=0.7)) > len(kept(top_p=0.7))
    assert list(kept(temperature=2.0, min_p=0.74)) == [1, 3]  # roots: the second has 0.87 of the first, the third 0.61
    assert list(kept(temperature=2.0, min_p=0.6)) == [1, 3, 2]


def test_rows_are_narrowed_each_on_its_own():
    logits = torch.stack((logits_of()[0], logits_of(PROBABILITIES[::-1])[0]))
    choice = candidates(logits, SamplingSettings(top_k=2))
    assert choice.codes[:, 0].tolist() == [[1, 3], [3, 1]]


def test_after_a_top_k_nothing_sorts_or_reads_the_whole_vocabulary():
    logits = torch.randn(2, 3, 4096)
    with Operations() as operations:
        candidates(logits, SamplingSettings(top_k=50, top_p=0.9))
    names = [name for name, _ in operations.seen]
    assert names.count("topk") == 1
    assert not [name for name in names if "sort" in name]
    after = operations.seen[names.index("topk") + 1 :]
    assert "cumsum" in [name for name, _ in after]
    assert all(size[-1] <= 50 for _, sizes in after for size in sizes if size)


def test_codes_are_drawn_with_the_frequencies_of_the_softmax():
    count = 20000
    logits = logits_of().expand(1, count, 5)
    drawn = torch.bincount(PerImageDraws(streams(1)).codes(candidates(logits, SamplingSettings()))[0], minlength=5)
    expected = count * torch.tensor(PROBABILITIES)
    chi_square = ((drawn - expected).square() / expected).sum()
    assert chi_square < 18.5  # 0.999 quantile with 4 degrees of freedom


def test_codes_are_drawn_from_what_is_left_only():
    count = 20000
    choice = candidates(logits_of().expand(1, count, 5), SamplingSettings(top_k=3, top_p=0.81))
    drawn = torch.bincount(PerImageDraws(streams(1)).codes(choice)[0], minlength=5)
    expected = count * torch.tensor([4 / 7, 3 / 7])
    assert drawn.sum() == drawn[[1, 3]].sum()
    assert ((drawn[[1, 3]] - expected).square() / expected).sum() < 10.9  # 0.999 quantile, 1 degree of freedom


@pytest.mark.parametrize("extreme", [0.0, 1 - 2**-24, 1.0])
def test_no_random_number_draws_a_code_that_is_ruled_out(extreme, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "uniform_", lambda self, *, generator: self.fill_(extreme))
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda self, *, generator: self.fill_(extreme + 2**-24))
    logits = torch.randn(4, 50, 16)
    logits[..., [0, 1, 7, 14, 15]] = -math.inf
    drawn = PerImageDraws(streams(4)).codes(Candidates(logits, None))
    assert not torch.isin(drawn, torch.tensor([0, 1, 7, 14, 15])).any()
    assert drawn.max() < 16


def test_each_sample_draws_from_its_own_stream():
    logits = torch.randn(1, 40, 16).expand(3, -1, -1)
    together = PerImageDraws(streams(3)).codes(candidates(logits, SamplingSettings()))
    for index in range(3):
        alone = PerImageDraws(streams(3)[index : index + 1]).codes(candidates(logits[:1], SamplingSettings()))
        assert torch.equal(together[index], alone[0])
    assert not torch.equal(together[0], together[1])


def test_the_likeliest_code_needs_no_randomness():
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    logits = torch.randn(1, 10, 16)
    assert torch.equal(
        PerImageDraws([generator]).codes(candidates(logits, SamplingSettings(top_k=1))), logits.argmax(-1)
    )
    assert torch.equal(generator.get_state(), before)


def test_one_certain_code_is_mixed_into_itself():
    codebook = torch.randn(5, 3)
    certain = torch.full((1, 4, 5), -1e4)
    certain[0, range(4), [2, 0, 4, 2]] = 0
    for top_k in (0, 3):
        mixed = PerImageDraws(streams(1)).mixtures(candidates(certain, SamplingSettings(top_k=top_k)), codebook, 0.5)
        torch.testing.assert_close(mixed[0], codebook[[2, 0, 4, 2]])


def test_smoothed_codes_are_gumbel_softmax_mixtures():
    codebook = torch.randn(5, 3)
    choice = candidates(logits_of().expand(2, 4, 5), SamplingSettings())
    for ratio, temperature in ((0.0, 0.27), (0.5, 0.27 * 0.525), (1.0, 0.0135)):
        gumbel = torch.stack([-torch.empty(4, 5).exponential_(generator=g).log() for g in streams(2)])
        weights = ((choice.logits * (1 + ratio) + gumbel) / temperature).softmax(-1)
        expected = torch.einsum("bnv,vw->bnw", weights, codebook)
        torch.testing.assert_close(PerImageDraws(streams(2)).mixtures(choice, codebook, ratio), expected)


def test_smoothed_codes_of_some_candidates_are_those_of_all_with_the_others_ruled_out():
    codebook = torch.randn(5, 3)
    choice = Candidates(torch.tensor([[[0.0, -1.0]]]), torch.tensor([[[3, 1]]]))
    gumbel = -torch.empty(1, 2).exponential_(generator=streams(1)[0]).log()
    weights = ((choice.logits[0] + gumbel) / 0.27).softmax(-1)
    expected = weights[0, 0] * codebook[3] + weights[0, 1] * codebook[1]
    torch.testing.assert_close(PerImageDraws(streams(1)).mixtures(choice, codebook, 0.0)[0, 0], expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": 0.0}, "temperature must be positive, got 0.0; .*top_k=1"),
        ({"temperature": -1.0}, "temperature must be positive"),
        ({"temperature": math.nan}, "temperature must be a finite number, got nan"),
        ({"top_k": -1}, "top_k must be a count of codes or 0 for all, got -1"),
        ({"top_p": 1.5}, r"top_p is a probability and must lie in \[0, 1\], got 1.5"),
        ({"top_p": -0.1}, r"top_p is a probability"),
        ({"min_p": 1.5}, r"min_p is a probability and must lie in \[0, 1\], got 1.5"),
    ],
)
def test_impossible_settings(settings, message):
    with pytest.raises(UserError, match=message):
        SamplingSettings(**settings)
