"""The multi-scale quantiser: it telescopes, it chooses the nearest codes, its loss and gradients are the paper's."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from var.vqvae import VQVAEConfig
from var.vqvae.quantizer import MultiScaleQuantizer

SCHEDULES = {
    "square": (1, 2, 3, 5),
    "rectangular": ((1, 2), (2, 3), (3, 6)),
    "one scale": (4,),
}


def make_quantizer(sides=(1, 2, 4), **settings):
    """A small quantiser with spread codes, so that tokens differ from place to place."""
    settings = {"width": 4, "vocabulary": 12, "base_channels": 32, "phi": 2, **settings}
    quantizer = MultiScaleQuantizer(VQVAEConfig(sides=sides, **settings))
    with torch.no_grad():
        quantizer.codebook.weight.normal_(generator=torch.Generator().manual_seed(1))
    return quantizer.eval()


def make_latent(quantizer, batch=3):
    height, width = quantizer.scales.shapes[-1]
    return torch.randn(batch, 4, height, width, generator=torch.Generator().manual_seed(2))


def by_loop(vectors, codes, normalize):
    """Index of the nearest code by the definition, one vector at a time, in float64."""
    chosen = []
    codes = codes.detach().double()
    for vector in vectors.double():
        if normalize:
            cosines = [float(vector @ code / (vector.norm() * code.norm())) for code in codes]
            chosen.append(int(np.argmax(cosines)))
        else:
            chosen.append(int(np.argmin([float((vector - code).square().sum()) for code in codes])))
    return torch.tensor(chosen)


@pytest.mark.parametrize("repeat", [1, 3])
@pytest.mark.parametrize("sides", SCHEDULES.values(), ids=SCHEDULES)
@torch.no_grad()
def test_latent_is_accumulated_latent_plus_last_residual(sides, repeat):
    quantizer = make_quantizer(sides, repeats=(repeat,) * len(sides))
    latent = make_latent(quantizer)
    token_maps = quantizer.encode(latent)
    assert [tuple(token_map.shape[1:]) for token_map in token_maps] == list(quantizer.scales.shapes)
    residual = latent
    for scale, token_map in enumerate(token_maps):
        # Each scale quantises what the coarser ones left over, at its own resolution.
        shape = quantizer.scales.shapes[scale]
        vectors = F.adaptive_avg_pool2d(residual, shape).permute(0, 2, 3, 1).reshape(-1, 4)
        assert torch.equal(token_map.flatten(), by_loop(vectors, quantizer.codebook.weight, normalize=False))
        residual = residual - quantizer.contribution(token_map, scale)
    accumulated = quantizer.accumulate(token_maps)
    assert len(accumulated) == len(token_maps)
    torch.testing.assert_close(latent, accumulated[-1] + residual)
    assert residual.abs().mean() > 0.01


def test_a_latent_that_the_codes_can_say_is_encoded_without_error():
    quantizer = make_quantizer((1, 2), width=1, vocabulary=4, phi_ratio=0.0)
    with torch.no_grad():
        quantizer.codebook.weight.copy_(torch.tensor([[0.5], [3.0], [1.0], [-1.0]]))
    latent = torch.tensor([[[[4.0, 2.0], [2.0, 4.0]]]])
    first, second = quantizer.encode(latent)
    # The mean is 3, which is code 1; what is left is +1 and -1, codes 2 and 3.
    assert first.tolist() == [[[1]]]
    assert second.tolist() == [[[2, 3], [3, 2]]]
    accumulated = quantizer.accumulate([first, second])
    torch.testing.assert_close(accumulated[0], torch.full((1, 1, 2, 2), 3.0))
    torch.testing.assert_close(accumulated[1], latent)


def test_a_median_says_what_most_of_an_image_is_and_blank_what_is_said():
    quantizer = make_quantizer(
        (1, (2, 3)), width=1, vocabulary=4, phi_ratio=0.0, pooling="median", codebook="ema", blank=0.1
    )
    with torch.no_grad():
        quantizer.codebook.weight.copy_(torch.tensor([[0.0], [3.0], [6.0], [0.5]]))
    latent = torch.tensor([[[[3.0, 3.0, 9.0], [3.4, 3.0, 9.0]]]])
    first, second = quantizer.encode(latent)
    # The mean is 5.07, the median 3: left are 0, 0.4 and 6. Code 3 is nearer to 0.4 than 0 is, by less than a tenth of
    # the codes' mean square of 11.3; at the first scale nothing is preferred.
    assert first.tolist() == [[[1]]]
    assert second.tolist() == [[[0, 0, 2], [0, 0, 2]]]


@pytest.mark.parametrize("normalize", [False, True])
def test_nearest_code_equals_brute_force(normalize):
    quantizer = make_quantizer(normalize_codes=normalize, vocabulary=64)
    codes = quantizer.codebook.weight
    with torch.no_grad():
        codes.mul_(torch.linspace(0.2, 3, 64)[:, None])
    vectors = torch.randn(2, 4, 5, 7)
    flat = vectors.permute(0, 2, 3, 1).reshape(-1, 4)
    expected = by_loop(flat, codes, normalize)
    assert torch.equal(quantizer.codebook.nearest(vectors).flatten(), expected)
    assert not torch.equal(by_loop(flat, codes, not normalize), expected)


def test_mixed_precision_does_not_confuse_near_codes():
    quantizer = make_quantizer(vocabulary=64)
    with torch.no_grad():  # codes that differ by less than bfloat16 can tell
        quantizer.codebook.weight.copy_(1 + 0.01 * torch.randn(64, 4))
    vectors = 1 + 0.01 * torch.randn(1, 4, 8, 8)
    expected = by_loop(vectors.permute(0, 2, 3, 1).reshape(-1, 4), quantizer.codebook.weight, normalize=False)
    with torch.autocast("cpu", torch.bfloat16):
        found = quantizer.codebook.nearest(vectors).flatten()
    assert torch.equal(found, expected)


@pytest.mark.parametrize("normalize", [False, True])
def test_above_temperature_zero_codes_are_drawn_by_their_distance(normalize):
    quantizer = make_quantizer(normalize_codes=normalize, vocabulary=5)
    codes = quantizer.codebook.weight.detach()
    vector, count = torch.tensor([0.3, -0.2, 0.5, 0.1]), 20000
    cosines = F.cosine_similarity(vector[None], codes)
    distances = 1 - cosines if normalize else (vector - codes).square().sum(1)
    expected = count * (-distances / (0.8 * distances.min())).softmax(0)
    vectors = vector[None, :, None, None].expand(1, 4, 100, 200)
    drawn = quantizer.codebook.nearest(vectors, 0.8, torch.Generator().manual_seed(0))
    counts = torch.bincount(drawn.flatten(), minlength=5)
    assert ((counts - expected).square() / expected.clamp_min(1)).sum() < 18.5  # 0.999 quantile, 4 degrees of freedom
    assert (counts > 0).sum() > 1
    assert torch.equal(drawn, quantizer.codebook.nearest(vectors, 0.8, torch.Generator().manual_seed(0)))


@torch.no_grad()
def test_finer_scales_encode_what_drawn_tokens_leave_over(monkeypatch):
    quantizer = make_quantizer((1, 2, 4), vocabulary=64)
    latent = make_latent(quantizer)
    nearest = quantizer.encode(latent)
    cold = quantizer.encode(latent, 1e-6, torch.Generator())
    assert all(torch.equal(a, b) for a, b in zip(nearest, cold, strict=True))
    met = []
    look_up = quantizer.codebook.nearest
    monkeypatch.setattr(quantizer.codebook, "nearest", lambda v, *settings: (met.append(v), look_up(v, *settings))[1])
    drawn = quantizer.encode(latent, 0.5, torch.Generator().manual_seed(0))
    assert not any(torch.equal(a, b) for a, b in zip(nearest[1:], drawn[1:], strict=True))
    for scale in (1, 2):
        residual = latent - quantizer.accumulate(drawn[:scale])[-1]
        torch.testing.assert_close(met[scale], F.adaptive_avg_pool2d(residual, quantizer.scales.shapes[scale]))


def test_phi_of_each_scale_is_the_one_with_the_nearest_tick():
    def rule(scales, phis):
        edge = 1 / 3 / phis if phis == 4 else 1 / 2 / phis
        ticks = np.linspace(edge, 1 - edge, phis)
        return [int(np.argmin([abs(tick - k / (scales - 1)) for tick in ticks])) for k in range(scales)]

    def found(sides, phi):
        return MultiScaleQuantizer(VQVAEConfig(sides=sides, phi=phi)).phi_index

    official = VQVAEConfig().sides
    assert found(official, 4) == rule(10, 4) == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert found(official, 3) == rule(10, 3)
    assert found((1, 2, 3, 4, 5, 6, 7, 8), 2) == [0, 0, 0, 0, 1, 1, 1, 1]
    assert found((1, 2, 3), "per-scale") == [0, 1, 2]
    assert found((1, 2, 3), 1) == [0, 0, 0]
    assert found((4,), 2) == [0]


def test_contribution_is_upsampled_and_passed_through_the_phi_of_its_scale():
    quantizer = make_quantizer((1, 2, 4), phi=3, phi_ratio=0.25)
    tokens = torch.randint(12, (2, 2, 2))
    large = F.interpolate(quantizer.codebook.weight[tokens].permute(0, 3, 1, 2), size=(4, 4), mode="bicubic")
    expected = 0.75 * large + 0.25 * quantizer.phi[1](large)
    torch.testing.assert_close(quantizer.contribution(tokens, 1), expected)
    last = torch.randint(12, (2, 4, 4))
    codes = quantizer.codebook.weight[last].permute(0, 3, 1, 2)
    torch.testing.assert_close(quantizer.contribution(last, 2), 0.75 * codes + 0.25 * quantizer.phi[2](codes))


@pytest.mark.parametrize("sides", [(1, 2, 4), ((1, 2), (2, 3), (3, 6))], ids=["square", "rectangular"])
@torch.no_grad()
def test_teacher_inputs_are_the_accumulated_latents_at_the_next_resolution(sides):
    quantizer = make_quantizer(sides)
    token_maps = quantizer.encode(make_latent(quantizer))
    scales = quantizer.scales
    inputs = quantizer.inputs(token_maps)
    assert inputs.shape == (3, scales.length - scales.lengths[0], 4)
    accumulated = torch.zeros(3, 4, *scales.shapes[-1])
    places = list(scales.slices())
    for scale in range(len(scales) - 1):
        accumulated = accumulated + quantizer.contribution(token_maps[scale], scale)
        expected = F.adaptive_avg_pool2d(accumulated, scales.shapes[scale + 1]).permute(0, 2, 3, 1).flatten(1, 2)
        start = scales.lengths[0]
        found = inputs[:, places[scale + 1].start - start : places[scale + 1].stop - start]
        torch.testing.assert_close(found, expected)
    # Fewer token maps give the first of the inputs; the last token map feeds nothing.
    assert torch.equal(quantizer.inputs(token_maps[:-1]), inputs)
    assert torch.equal(quantizer.inputs(token_maps[:1]), inputs[:, : scales.lengths[1]])


def test_one_scale_has_no_teacher_inputs():
    quantizer = make_quantizer((4,))
    assert quantizer.inputs(quantizer.encode(make_latent(quantizer))).shape == (3, 0, 4)


@pytest.mark.parametrize("sides", SCHEDULES.values(), ids=SCHEDULES)
def test_loss_is_the_mean_over_scales_of_both_pulls(sides):
    quantizer = make_quantizer(sides, commitment=0.3)
    latent = make_latent(quantizer).requires_grad_()
    out = quantizer(latent)
    assert all(torch.equal(a, b) for a, b in zip(out.token_maps, quantizer.encode(latent), strict=True))
    errors = [(acc - latent).square().mean() for acc in quantizer.accumulate(out.token_maps)]
    torch.testing.assert_close(out.loss, 1.3 * sum(errors) / len(errors))
    # The encoder feels the commitment only: d/df of beta MSE(acc_k, f), averaged over the scales.
    (gradient,) = torch.autograd.grad(out.loss, latent)
    pulls = [2 * (latent - acc) / latent.numel() for acc in quantizer.accumulate(out.token_maps)]
    torch.testing.assert_close(gradient, (0.3 * sum(pulls) / len(pulls)).detach())


def test_straight_through_hands_the_gradient_of_the_decoder_to_the_encoder():
    quantizer = make_quantizer()
    latent = make_latent(quantizer).requires_grad_()
    out = quantizer(latent)
    accumulated = quantizer.accumulate(out.token_maps)[-1]
    torch.testing.assert_close(out.latent, accumulated)
    weights = torch.randn_like(latent)
    (out.latent * weights).sum().backward()
    assert torch.equal(latent.grad, weights)
    assert quantizer.codebook.weight.grad is None
    assert all(phi.weight.grad is None for phi in quantizer.phi)


def test_a_gradient_codebook_learns_from_the_loss_at_the_chosen_codes():
    quantizer = make_quantizer(vocabulary=64)
    latent = make_latent(quantizer, batch=1)
    out = quantizer(latent)
    out.loss.backward()
    chosen = torch.cat([tokens.flatten() for tokens in out.token_maps]).unique()
    moved = quantizer.codebook.weight.grad.abs().sum(1).nonzero().flatten()
    assert torch.equal(moved, chosen)
    assert len(chosen) < 64
    assert all(phi.weight.grad.abs().sum() > 0 for phi in quantizer.phi)


def test_codes_and_phi_feel_the_pull_towards_the_latent_only():
    quantizer = make_quantizer(commitment=5.0)  # a weight of the encoder's pull, which must not reach the codes
    latent = make_latent(quantizer)
    out = quantizer(latent)
    learned = [quantizer.codebook.weight, *quantizer.phi.parameters()]
    errors = [(acc - latent).square().mean() for acc in quantizer.accumulate(out.token_maps)]
    expected = torch.autograd.grad(sum(errors) / len(errors), learned)
    for found, wanted in zip(torch.autograd.grad(out.loss, learned), expected, strict=True):
        torch.testing.assert_close(found, wanted)


def test_an_ema_codebook_has_no_gradient():
    quantizer = make_quantizer(codebook="ema").train()
    out = quantizer(make_latent(quantizer))
    out.loss.backward()
    assert not quantizer.codebook.weight.requires_grad
    assert quantizer.codebook.weight.grad is None
    assert all(phi.weight.grad.abs().sum() > 0 for phi in quantizer.phi)


def test_dropped_scales_are_hidden_from_the_decoder_only():
    quantizer = make_quantizer(sides=(1, 2, 4), scale_dropout=0.5).train()
    latent = make_latent(quantizer, batch=400)
    out = quantizer(latent, torch.Generator().manual_seed(0))
    prefixes = quantizer.accumulate(out.token_maps)
    seen = torch.stack([(out.latent - prefix).abs().amax(dim=(1, 2, 3)) < 1e-5 for prefix in prefixes])
    assert (seen.sum(0) == 1).all()  # every image is known up to one scale
    shares = seen.float().mean(1)
    assert abs(float(shares[2]) - 0.5) < 4 * 0.5 / 20
    assert abs(float(shares[0] - shares[1])) < 4 * (0.5 / 400) ** 0.5
    torch.testing.assert_close(out.loss, quantizer.eval()(latent).loss)
    torch.testing.assert_close(quantizer(latent).latent, prefixes[-1])  # never outside training


def test_the_encoder_learns_through_the_scales_that_are_left():
    quantizer = make_quantizer(sides=(1, 2, 4), scale_dropout=1.0).train()
    latent = make_latent(quantizer).requires_grad_()
    weight = torch.randn(latent.shape)
    (quantizer(latent, torch.Generator().manual_seed(0)).latent * weight).sum().backward()
    torch.testing.assert_close(latent.grad, weight)


def test_dropped_scales_are_decided_by_the_generator():
    quantizer = make_quantizer(sides=(1, 2, 4), scale_dropout=0.5).train()
    latent = make_latent(quantizer, batch=20)
    first, again, other = (quantizer(latent, torch.Generator().manual_seed(seed)).latent for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_entropies_are_measured_over_the_vectors_of_all_scales_and_teach_the_encoder():
    quantizer = make_quantizer(sides=(1, 2, 4))
    latent = make_latent(quantizer).requires_grad_()
    out = quantizer(latent, entropy_temperature=0.7)
    accumulated = [torch.zeros_like(latent), *quantizer.accumulate(out.token_maps)[:-1]]
    vectors = [quantizer.shrink(latent - a, scale).flatten(2).mT.flatten(0, 1) for scale, a in enumerate(accumulated)]
    expected = quantizer.codebook.entropies(torch.cat(vectors), 0.7)
    torch.testing.assert_close(out.entropies, expected)
    out.entropies[0].backward()
    assert latent.grad.abs().sum() > 0
    assert quantizer(latent).entropies is None
    assert torch.equal(quantizer(latent).loss, out.loss)
