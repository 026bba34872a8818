"""The likelihood by the probability-flow ODE against closed forms, and both likelihoods as the pipeline tells them."""

import math

import pytest
import torch
from mixtures import Mixture
from tiny import spread, tiny_unet
from torch.distributions import MultivariateNormal, Normal

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.diffusion import variational_bound
from diffusion_baseline.likelihood import ode_bits_per_dimension
from diffusion_baseline.schedules import Estimate, StraightSchedule, cosine_schedule, linear_schedule
from var.errors import UserError
from var.images import Signed, to_pil

SCHEDULES = {
    "linear": linear_schedule(1000),
    "cosine": cosine_schedule(1000),
    "zero terminal": cosine_schedule(1000).zero_terminal(),
    "straight": StraightSchedule(1000),
}
WIDTH = 2 / 32


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def grid(images, width=WIDTH):
    return (images.clamp(-1, 1) / width).round() * width


def with_uniform_noise(images, seed=0):
    drawn = torch.randn(images.shape, generator=generator(seed), dtype=images.dtype)
    return images + WIDTH * (torch.special.ndtr(drawn) - 0.5)


def first_variance(schedule):
    """Of the noise in x_t / signal where the ODE begins: no less than that of the uniform noise."""
    signal, noise = schedule.levels(torch.arange(schedule.num_timesteps))
    ratio = (noise / signal) ** 2
    return ratio[ratio >= WIDTH**2 / 12][0].item()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_ode_of_gaussian_data_is_its_closed_form(schedule):
    schedule = SCHEDULES[schedule]
    images = grid(0.4 + 0.25 * torch.randn(20, 1, generator=generator(1), dtype=torch.float64))
    denoise = Mixture([1.0], [0.4], [0.25]).denoiser(schedule)
    bits = ode_bits_per_dimension(denoise, images, schedule, generator=generator(), levels=33, steps=100)
    density = Normal(0.4, (0.25**2 + first_variance(schedule)) ** 0.5).log_prob(with_uniform_noise(images))
    torch.testing.assert_close(bits, -(density[:, 0] + math.log(WIDTH)) / math.log(2), atol=0.02, rtol=5e-3)


def test_the_error_of_the_ode_falls_by_the_second_order():
    schedule, images = SCHEDULES["straight"], grid(torch.tensor([[-0.5], [0.0], [0.5]], dtype=torch.float64))
    denoise = Mixture([0.3, 0.7], [-0.6, 0.5], [0.2, 0.3]).denoiser(schedule)

    def bits(steps):
        return ode_bits_per_dimension(denoise, images, schedule, generator=generator(), levels=33, steps=steps)

    exact = bits(160)
    errors = [(bits(steps) - exact).abs().mean().item() for steps in (10, 40)]
    assert math.log(errors[0] / errors[1], 4) == pytest.approx(2, abs=0.4)


def test_random_signs_estimate_the_divergence_without_bias():
    schedule, count = SCHEDULES["straight"], 2000
    covariance = torch.tensor([[0.06, 0.03], [0.03, 0.05]], dtype=torch.float64)
    unit = torch.eye(2, dtype=torch.float64)

    def denoise(x, t):
        signal, noise = (level[0].item() for level in schedule.levels(t))
        image = x @ (signal * covariance @ torch.linalg.inv(signal**2 * covariance + noise**2 * unit))
        return Estimate(image, (x - signal * image) / noise)

    images = grid(
        torch.randn(count, 2, generator=generator(1), dtype=torch.float64) @ torch.linalg.cholesky(covariance).T
    )
    bits = ode_bits_per_dimension(denoise, images, schedule, generator=generator(), levels=33, steps=40)
    density = MultivariateNormal(torch.zeros(2).double(), covariance + first_variance(schedule) * unit)
    expected = -(density.log_prob(with_uniform_noise(images)) / 2 + math.log(WIDTH)) / math.log(2)
    off = bits - expected
    assert off.std() > 0.05
    assert off.mean().item() == pytest.approx(0, abs=5 * off.std().item() / count**0.5 + 2e-3)


@pytest.fixture
def pipe():
    torch.manual_seed(0)
    return DiffusionPipeline(spread(tiny_unet()), num_timesteps=20)


IMAGES = grid(torch.rand(3, 1, 4, 8, generator=generator(2)) * 2 - 1)


def test_the_pipeline_tells_both_of_a_class(pipe):
    labels = torch.tensor([0, 1, 2])
    bits = {
        method: pipe.bits_per_dimension(IMAGES, labels, method=method, levels=33, seeds=[5, 6, 7], **steps)
        for method, steps in (("bound", {}), ("ode", {"steps": 3}))
    }

    def denoise(x, t):
        alpha, sigma = pipe.schedule.signal_and_noise(t, x)
        return sigma * x + alpha * pipe.unet(x, t, labels)

    draw = [generator(seed) for seed in (5, 6, 7)]
    expected = variational_bound(denoise, IMAGES, pipe.schedule, generator=draw, levels=33)
    torch.testing.assert_close(bits["bound"], expected, rtol=1e-4, atol=1e-4)
    draw = [generator(seed) for seed in (5, 6, 7)]
    expected = ode_bits_per_dimension(denoise, IMAGES, pipe.schedule, generator=draw, levels=33, steps=3)
    torch.testing.assert_close(bits["ode"], expected, rtol=1e-4, atol=1e-4)
    for method, steps in (("bound", {}), ("ode", {"steps": 3})):
        call = {"method": method, "levels": 33, **steps}
        alone = pipe.bits_per_dimension(IMAGES[1:2], [1], seeds=[6], **call)
        torch.testing.assert_close(alone, bits[method][1:2], rtol=1e-4, atol=1e-4)
        other = pipe.bits_per_dimension(IMAGES[1:2], seeds=[6], **call)
        assert not torch.allclose(alone, other, atol=1e-3)
    assert all(parameter.grad is None for parameter in pipe.unet.parameters())


def test_images_are_read_as_edits_read_them(pipe):
    """In [0, 1] some were taken for others in [-1, 1]; black and white ones of 3 levels are."""
    call = {"class_labels": [0, 1, 2], "levels": 33, "seeds": [5, 6, 7]}
    shares, halves = IMAGES / 2 + 0.5, (IMAGES > 0).float()
    expected = pipe.bits_per_dimension(IMAGES, **call)
    torch.testing.assert_close(pipe.bits_per_dimension(shares, **call), expected)
    torch.testing.assert_close(pipe.bits_per_dimension(shares.permute(0, 2, 3, 1).numpy(), **call), expected)
    assert torch.equal(pipe.bits_per_dimension(Signed(IMAGES), **call), expected)
    call["levels"] = 3
    expected = pipe.bits_per_dimension(2 * halves - 1, **call)
    for given in (halves, to_pil(2 * halves - 1), halves.bool().byte() * 255):
        torch.testing.assert_close(pipe.bits_per_dimension(given, **call), expected)
    grey = pipe.bits_per_dimension(Signed(halves), **call)  # known to be grey and white
    assert not torch.allclose(grey, expected)


@pytest.mark.parametrize("prediction", ["flow", "meanflow"])
def test_a_straight_path_has_both_too(prediction):
    torch.manual_seed(0)
    unet, instants = spread(tiny_unet(interval=prediction == "meanflow")), []
    unet.register_forward_pre_hook(lambda _, inputs: instants.append(len(inputs) == 3))
    pipe = DiffusionPipeline(unet, schedule="straight", prediction=prediction, num_timesteps=10)
    for method in ("bound", "ode"):
        assert pipe.bits_per_dimension(IMAGES, [0, 1, 2], method=method, levels=33).isfinite().all()
    assert all(instants)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"method": "elbo"}, "unknown method 'elbo'; choose one of 'bound', 'ode'"),
        ({"levels": 1}, "2 levels or more, got 1"),
        ({"levels": 20}, "a likelihood over 20 levels needs images of just these"),
        ({"steps": 5}, "the bound takes every timestep, got steps=5; leave them out"),
        ({"method": "ode", "steps": 21}, "the ODE takes 1 to 20 steps with this schedule, got 21"),
        ({"class_labels": "random"}, "a likelihood is that of given labels, got class_labels='random'"),
        ({"images": IMAGES[:, :, :2]}, r"images must be 4x8|must be .*\(4, 8\)|size"),
        ({"seeds": [1]}, "3"),
    ],
)
def test_bad_requests(pipe, call, message):
    with pytest.raises(UserError, match=message):
        pipe.bits_per_dimension(**{"images": IMAGES, "levels": 33, **call})
