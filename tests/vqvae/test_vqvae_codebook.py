"""How a codebook learns: running means, k-means at the start, restarts, and the statistics of its use."""

import math

import pytest
import torch

from var.vqvae import VQVAEConfig
from var.vqvae.codebook import Codebook


def make_codebook(vocabulary=4, **settings):
    settings = {"sides": (1, 2), "width": 2, "codebook": "ema", **settings}
    return Codebook(VQVAEConfig(vocabulary=vocabulary, **settings))


def with_usage(rows):
    codebook = make_codebook(len(rows[0]), sides=tuple(range(1, len(rows) + 1)))
    codebook.usage.copy_(torch.tensor(rows))
    return codebook


def test_running_means_by_hand():
    codebook = make_codebook(3, codebook_decay=0.8)
    codebook.weight.copy_(torch.tensor([[0.0, 0.0], [10.0, 10.0], [-9.0, 9.0]]))
    codebook.cluster_size.copy_(torch.tensor([2.0, 1.0, 0.0]))
    codebook.cluster_sum.copy_(torch.tensor([[2.0, 4.0], [10.0, 10.0], [0.0, 0.0]]))
    vectors = [torch.tensor([[1.0, 1.0]]), torch.tensor([[3.0, 0.0], [9.0, 8.0]])]
    codebook.observe(vectors, [torch.tensor([0]), torch.tensor([0, 1])])
    # size' = 0.8 size + 0.2 count and sum' = 0.8 sum + 0.2 (sum of the vectors); the code is their quotient.
    torch.testing.assert_close(codebook.cluster_size, torch.tensor([0.8 * 2 + 0.2 * 2, 0.8 * 1 + 0.2 * 1, 0.0]))
    zero = [(0.8 * 2 + 0.2 * (1 + 3)) / 2.0, (0.8 * 4 + 0.2 * (1 + 0)) / 2.0]
    one = [(0.8 * 10 + 0.2 * 9) / 1.0, (0.8 * 10 + 0.2 * 8) / 1.0]
    # Code 2 was never chosen and keeps its place.
    torch.testing.assert_close(codebook.weight.data, torch.tensor([zero, one, [-9.0, 9.0]]))


def test_running_means_settle_at_the_means_of_the_clusters():
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 5.0], [5.0, 0.0], [-5.0, 0.0]])
    codebook = make_codebook(3, codebook_decay=0.9)
    codebook.weight.copy_(centres + 0.5)
    for _ in range(60):
        members = torch.arange(300) % 3
        vectors = centres[members] + 0.1 * torch.randn(300, 2, generator=generator)
        tokens = codebook.nearest(vectors.T[None, :, None]).flatten()
        assert torch.equal(tokens, members)
        codebook.observe([vectors[:30], vectors[30:]], [tokens[:30], tokens[30:]])
    # The mean of some 1900 effective draws of spread 0.1.
    assert (codebook.weight - centres).abs().max() < 4 * 0.1 / math.sqrt(1900 / 3)


@pytest.mark.parametrize("settings", [{}, {"restart_below": 5.0}, {"kmeans_init": True}], ids=str)
def test_a_blank_code_stays_zero_whatever_chooses_it(settings):
    codebook = make_codebook(4, blank=0.2, **settings)
    assert not codebook.weight[0].any()
    generator = torch.Generator().manual_seed(0)
    if codebook.wants_init:
        codebook.init_from(torch.randn(50, 2, generator=generator) + 3, generator)
    for _ in range(3):
        vectors = torch.randn(40, 2, generator=generator) + 3
        tokens = torch.arange(40) % 4
        codebook.observe([vectors, vectors], [tokens, tokens], generator)
        assert not codebook.weight[0].any()
        assert codebook.weight[1:].any(dim=1).all()


def test_a_diverged_step_leaves_the_codes_alone():
    codebook = make_codebook(3, restart_below=0.5)
    before = {name: value.clone() for name, value in codebook.state_dict().items()}
    vectors = torch.tensor([[1.0, math.nan], [2.0, 1.0]])
    codebook.observe([vectors, vectors], [torch.tensor([0, 1])] * 2, torch.Generator())
    for name, value in codebook.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_kmeans_places_codes_at_separated_cluster_centres():
    generator = torch.Generator().manual_seed(0)
    angles = torch.arange(4) * math.pi / 2
    centres = 10 * torch.stack((angles.cos(), angles.sin()), dim=1)
    vectors = (centres[:, None] + 0.2 * torch.randn(4, 200, 2, generator=generator)).flatten(0, 1)
    # From random starts two codes may share a cluster; with twice as many codes every cluster has one.
    codebook = make_codebook(8, kmeans_init=True)
    assert codebook.wants_init
    codebook.init_from(vectors, torch.Generator().manual_seed(3))
    assert not codebook.wants_init
    distances = torch.cdist(codebook.weight.data, centres)
    assert set(distances.argmin(1).tolist()) == {0, 1, 2, 3}
    # Each code is the mean of the vectors that are nearest to it, and none lies between clusters.
    assert distances.min(1).values.max() < 0.6
    nearest = torch.cdist(vectors, codebook.weight.data).argmin(1)
    means = torch.stack([vectors[nearest == code].mean(0) for code in range(8)])
    assert (codebook.weight - means).abs().max() < 0.05
    assert torch.equal(codebook.cluster_sum, codebook.weight)


def test_kmeans_is_decided_by_its_generator():
    vectors = torch.randn(300, 2)

    def codes(seed):
        codebook = make_codebook(8, kmeans_init=True)
        codebook.init_from(vectors, torch.Generator().manual_seed(seed))
        return codebook.weight.data

    state = torch.get_rng_state()
    codebook = make_codebook(8, kmeans_init=True)
    drawn = torch.get_rng_state()
    codebook.init_from(vectors, torch.Generator().manual_seed(5))
    assert torch.equal(torch.get_rng_state(), drawn)
    assert not torch.equal(state, drawn)
    assert torch.equal(codes(5), codebook.weight.data)
    assert not torch.equal(codes(6), codebook.weight.data)


def test_kmeans_of_fewer_vectors_than_codes_repeats_them():
    vectors = torch.tensor([[0.0, 0.0], [8.0, 0.0], [0.0, 8.0]])
    codebook = make_codebook(16, kmeans_init=True)
    codebook.init_from(vectors, torch.Generator().manual_seed(0))
    distances = torch.cdist(codebook.weight.data, vectors)
    assert distances.min(1).values.max() < 0.5
    assert set(distances.argmin(1).tolist()) == {0, 1, 2}
    assert len(codebook.weight.unique(dim=0)) == 16


def test_a_codebook_that_was_used_is_not_placed_again():
    codebook = make_codebook(4, kmeans_init=True)
    codebook.observe([torch.zeros(1, 2)] * 2, [torch.tensor([0])] * 2)
    assert not codebook.wants_init
    loaded = make_codebook(4, kmeans_init=True)
    loaded.load_state_dict(codebook.state_dict())
    assert not loaded.wants_init
    assert not make_codebook(4, kmeans_init=False).wants_init


def test_dead_codes_restart_at_vectors_of_the_step():
    codebook = make_codebook(4, restart_below=0.5, codebook_decay=0.5)
    codebook.weight.copy_(torch.tensor([[1.0, 1.0], [50.0, 50.0], [2.0, 2.0], [60.0, 60.0]]))
    codebook.cluster_size.copy_(torch.tensor([8.0, 0.6, 8.0, 1.2]))
    codebook.cluster_sum.copy_(codebook.weight * codebook.cluster_size[:, None])
    vectors = torch.tensor([[1.0, 1.0], [2.0, 2.0], [1.0, 1.0], [2.0, 2.0]])
    codebook.observe([vectors[:1], vectors[1:]], [torch.tensor([0]), torch.tensor([2, 0, 2])], torch.Generator())
    # Unused, code 1 has fallen to 0.3 and restarts; code 3 has fallen to 0.6 and waits.
    assert codebook.weight[1].tolist() in ([1.0, 1.0], [2.0, 2.0])
    torch.testing.assert_close(codebook.weight[3], torch.tensor([60.0, 60.0]))
    torch.testing.assert_close(codebook.cluster_size, torch.tensor([5.0, 1.0, 5.0, 0.6]))
    torch.testing.assert_close(codebook.cluster_sum[1], codebook.weight[1])
    torch.testing.assert_close(codebook.weight[0], torch.tensor([1.0, 1.0]))


def test_without_a_threshold_nothing_restarts():
    codebook = make_codebook(2, restart_below=0.0)
    codebook.weight.copy_(torch.tensor([[1.0, 1.0], [50.0, 50.0]]))
    for _ in range(20):
        codebook.observe([torch.ones(1, 2)] * 2, [torch.tensor([0])] * 2)
    assert codebook.weight[1].tolist() == [50.0, 50.0]


def test_usage_is_a_running_mean_of_the_counts_of_each_scale():
    codebook = make_codebook(3, codebook="gradient", codebook_decay=0.75)
    vectors = [torch.zeros(2, 2), torch.zeros(4, 2)]
    codebook.observe(vectors, [torch.tensor([0, 0]), torch.tensor([0, 1, 1, 2])])
    assert codebook.usage.tolist() == [[2, 0, 0], [1, 2, 1]]  # the first step counts in full
    codebook.observe(vectors, [torch.tensor([1, 2]), torch.tensor([2, 2, 2, 2])])
    torch.testing.assert_close(codebook.usage, torch.tensor([[1.5, 0.25, 0.25], [0.75, 1.5, 0.75 + 1]]))


def test_perplexity_counts_the_codes_that_are_equally_likely():
    codebook = with_usage([[5.0, 0, 0, 0], [1.0, 1, 0, 0], [3.0, 3, 3, 3], [0.0, 0, 0, 0]])
    share, perplexity = codebook.statistics()
    assert share.tolist() == [0.25, 0.5, 1.0, 0.0]
    torch.testing.assert_close(perplexity, torch.tensor([1.0, 2.0, 4.0, 1.0]))


def test_perplexity_is_the_exponential_of_the_entropy():
    _, (perplexity,) = with_usage([[4.0, 2.0, 2.0, 0.0]]).statistics()
    expected = math.exp(0.5 * math.log(2) + 2 * 0.25 * math.log(4))
    assert float(perplexity) == pytest.approx(expected)


def test_gradient_codes_restart_too():
    codebook = make_codebook(3, codebook="gradient", restart_below=0.5, codebook_decay=0.5)
    with torch.no_grad():
        codebook.weight.copy_(torch.tensor([[1.0, 1.0], [50.0, 50.0], [60.0, 60.0]]))
    codebook.cluster_size.copy_(torch.tensor([4.0, 0.9, 1.2]))
    vectors = [torch.tensor([[1.5, 1.0]]), torch.tensor([[2.0, 2.0]])]
    codebook.observe(vectors, [torch.tensor([0]), torch.tensor([0])], torch.Generator())
    # The used code is left to its gradient; code 1 has fallen to 0.45 and restarts, code 2 to 0.6 and waits.
    assert codebook.weight[0].tolist() == [1.0, 1.0]
    assert codebook.weight[1].tolist() in ([1.5, 1.0], [2.0, 2.0])
    assert codebook.weight[2].tolist() == [60.0, 60.0]
    torch.testing.assert_close(codebook.cluster_size, torch.tensor([3.0, 1.0, 0.6]))


def test_only_statistics_that_are_needed_are_kept():
    kept = {name for name, _ in make_codebook(codebook="gradient").named_buffers()}
    assert kept == {"usage"}
    assert {name for name, _ in make_codebook(codebook="gradient", restart_below=0.1).named_buffers()} == {
        "usage",
        "cluster_size",
    }


def test_kmeans_of_a_diverged_step_places_nothing():
    codebook = make_codebook(4, kmeans_init=True)
    before = codebook.weight.clone()
    vectors = torch.rand(50, 2)
    vectors[7] = math.inf
    codebook.init_from(vectors, torch.Generator())
    assert torch.equal(codebook.weight, before)
    assert codebook.wants_init


@pytest.mark.parametrize("normalize", [False, True])
def test_entropies_by_hand(normalize):
    codebook = make_codebook(3, codebook="gradient", normalize_codes=normalize)
    with torch.no_grad():
        codebook.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [-1.0, -1.0]]))
    vectors = torch.tensor([[0.5, 0.2], [0.1, 3.0]])
    rows = []
    for vector in vectors:
        cosines = torch.nn.functional.cosine_similarity(vector[None], codebook.weight)
        rows.append(1 - cosines if normalize else (vector - codebook.weight).square().sum(1))
    distances = torch.stack(rows).detach()
    choice = (-distances / (0.5 * distances.amin(1).mean())).softmax(1)
    of_choice, of_codes = codebook.entropies(vectors, 0.5)
    torch.testing.assert_close(of_choice.detach(), torch.special.entr(choice).sum(1).mean())
    torch.testing.assert_close(of_codes.detach(), torch.special.entr(choice.mean(0)).sum())


def test_descending_the_entropy_loss_spreads_the_codes():
    generator = torch.Generator().manual_seed(0)
    vectors = 3 * torch.randn(400, 2, generator=generator)
    codebook = make_codebook(8, codebook="gradient")
    with torch.no_grad():  # all codes at one side: one of them is the nearest of nearly all vectors
        codebook.weight.copy_(torch.tensor([9.0, 0.0]) + 0.1 * torch.randn(8, 2, generator=generator))

    def perplexity():
        counts = torch.bincount(codebook.nearest(vectors.T[None, :, None]).flatten(), minlength=8) / 400
        return float(torch.special.entr(counts).sum().exp())

    before = perplexity()
    optimizer = torch.optim.Adam([codebook.weight], lr=0.1)
    for _ in range(100):
        of_choice, of_codes = codebook.entropies(vectors, 1.0)
        (of_choice - of_codes).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert perplexity() > before + 1


def test_the_codes_may_move_between_the_entropies_and_their_backward_pass():
    codebook = make_codebook(4, restart_below=1.0)
    vectors = torch.randn(8, 2, requires_grad=True)
    of_choice, of_codes = codebook.entropies(vectors, 1.0)
    codebook.observe([vectors.detach()] * 2, [torch.zeros(8, dtype=torch.long)] * 2, torch.Generator())
    (of_choice - of_codes).backward()
    assert vectors.grad.abs().sum() > 0
