"""The forward process: schedules, the jump to any timestep, prediction targets."""

import math

import pytest
import torch
from mixtures import Mixture
from safetensors.torch import load_file
from tiny import tiny_unet

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.diffusion import (
    add_noise,
    image_and_noise,
    simplified_loss,
    training_target,
    variational_bound,
)
from diffusion_baseline.schedules import (
    Estimate,
    NoiseSchedule,
    StraightSchedule,
    cosine_schedule,
    linear_schedule,
    named_schedule,
)
from var.errors import UserError

PREDICTIONS = ["eps", "v", "x0", "flow"]


@pytest.fixture
def golden(shared_cases):
    return load_file(shared_cases / "diffusion" / "linear_1000.safetensors")


def draw(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_linear_schedule_is_the_reference(golden):
    schedule = linear_schedule(1000)
    assert schedule.num_timesteps == 1000
    assert schedule.betas.dtype == schedule.alphas_cumprod.dtype == torch.float64
    torch.testing.assert_close(schedule.betas, golden["betas"], atol=1e-6, rtol=0)
    torch.testing.assert_close(schedule.alphas_cumprod, golden["alphas_cumprod"], atol=1e-6, rtol=0)


def test_cosine_schedule_follows_its_equation():
    schedule = cosine_schedule(100)

    def f(step):
        return math.cos((step / 100 + 0.008) / 1.008 * math.pi / 2) ** 2

    expected = torch.tensor([f(step + 1) / f(0) for step in range(99)], dtype=torch.float64)
    torch.testing.assert_close(schedule.alphas_cumprod[:99], expected)
    assert schedule.betas[-1] == 0.999  # clipped: the equation would say 1
    assert (schedule.betas.diff() > 0).all()


@pytest.mark.parametrize("schedule", [linear_schedule(1000), cosine_schedule(50)], ids=["linear", "cosine"])
def test_one_jump_equals_single_steps_in_mean_and_variance(schedule):
    steps, mean, variance = [], 1.0, 0.0
    for beta in schedule.betas.tolist():
        mean, variance = math.sqrt(1 - beta) * mean, (1 - beta) * variance + beta
        steps.append((mean, variance**0.5))
    one, timesteps = torch.ones(len(steps), 1, dtype=torch.float64), torch.arange(len(steps))
    jump_mean = add_noise(one, 0 * one, timesteps, schedule)
    jump_deviation = add_noise(0 * one, one, timesteps, schedule)
    jump = torch.cat([jump_mean, jump_deviation], dim=1)
    torch.testing.assert_close(jump, torch.tensor(steps, dtype=torch.float64), rtol=1e-9, atol=0)


def test_add_noise_is_the_reference(golden):
    schedule = linear_schedule(1000)
    for t, expected in zip(golden["timesteps"], golden["noised"], strict=True):
        for timesteps in (int(t), t, t.expand(2)):
            noised = add_noise(golden["x0"], golden["noise"], timesteps, schedule)
            torch.testing.assert_close(noised, expected, atol=5e-6, rtol=0)  # the producer's 1 - alpha-bar is float32


def test_every_sample_has_its_own_timestep():
    schedule = cosine_schedule(10)
    images, noise, timesteps = draw(3, 1, 2, 2), draw(3, 1, 2, 2, seed=1), torch.tensor([0, 9, 4])
    together = add_noise(images, noise, timesteps, schedule)
    for i, t in enumerate(timesteps.tolist()):
        torch.testing.assert_close(together[i : i + 1], add_noise(images[i : i + 1], noise[i : i + 1], t, schedule))


def test_coefficients_are_rounded_once_to_the_dtype_of_the_images():
    images = draw(2, 3, dtype=torch.float32)
    schedule = linear_schedule(1000)
    assert add_noise(images, images, torch.tensor([0, 999]), schedule).dtype == torch.float32
    signal, _ = schedule.signal_and_noise(torch.tensor([0]), images)
    assert signal.item() == torch.tensor(math.sqrt(1 - 1e-4)).item()


def test_the_clean_image_has_timestep_minus_one():
    schedule = linear_schedule(5)
    assert schedule.alpha_bar(-1) == 1
    assert schedule.alpha_bar(torch.tensor([4, -1])).tolist() == [schedule.alphas_cumprod[4].item(), 1.0]


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_target_and_conversion_are_inverse(prediction):
    schedule = cosine_schedule(20)
    images, noise, timesteps = draw(20, 2, 3), draw(20, 2, 3, seed=1), torch.arange(20)
    x = add_noise(images, noise, timesteps, schedule)
    target = training_target(images, noise, timesteps, schedule, prediction)
    image_again, noise_again = image_and_noise(target, x, timesteps, schedule, prediction)
    torch.testing.assert_close(image_again, images, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(noise_again, noise, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_any_output_stands_for_an_image_and_a_noise_that_make_x(prediction):
    schedule = cosine_schedule(20)
    output, x, timesteps = draw(20, 5), draw(20, 5, seed=1), torch.arange(20)
    image, noise = image_and_noise(output, x, timesteps, schedule, prediction)
    torch.testing.assert_close(add_noise(image, noise, timesteps, schedule), x)
    torch.testing.assert_close(training_target(image, noise, timesteps, schedule, prediction), output)


def test_v_target_has_unit_variance_at_every_noise_level():
    schedule = cosine_schedule(7)
    images, noise = draw(7, 50_000), draw(7, 50_000, seed=1)
    v = training_target(images, noise, torch.arange(7), schedule, "v")
    torch.testing.assert_close(v.var(dim=1), torch.ones(7, dtype=torch.float64), atol=0.03, rtol=0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_loss_is_the_squared_distance_to_the_target(prediction):
    schedule = linear_schedule(10)
    images, noise, timesteps = draw(4, 1, 2, 2), draw(4, 1, 2, 2, seed=1), torch.tensor([0, 3, 6, 9])
    target = training_target(images, noise, timesteps, schedule, prediction)
    offset = torch.tensor([0.0, 1.0, 2.0, 3.0]).double()

    def denoise(x, t):
        torch.testing.assert_close(x, add_noise(images, noise, timesteps, schedule))
        assert t is timesteps
        return target + offset[:, None, None, None]

    losses = simplified_loss(denoise, images, noise, timesteps, schedule, prediction)
    torch.testing.assert_close(losses.double(), offset**2, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "schedule", [cosine_schedule(100), cosine_schedule(100).zero_terminal(), StraightSchedule(100)]
)
def test_bound_of_gaussian_data_is_its_closed_form_and_above_the_entropy(schedule):
    deviation, levels, count = 0.25, 8193, 4000
    bin_width = 2 / (levels - 1)
    images = ((draw(count, 1) * deviation).clamp(-1, 1) / bin_width).round() * bin_width
    denoise = Mixture([1.0], [0.0], [deviation]).denoiser(schedule)
    bits = variational_bound(denoise, images, schedule, generator=torch.Generator().manual_seed(1), levels=levels)
    # In terms of the signal-to-noise ratio (Kingma et al. 2021, Eq. 13), with the error of the exact denoiser.
    signal, noise = schedule.levels(torch.arange(100))
    ratio = (signal / noise) ** 2
    error = deviation**2 / (1 + ratio * deviation**2)
    steps = 0.5 * ((ratio[:-1] - ratio[1:]) * error[1:]).sum()
    last, spread = signal[-1] ** 2, noise[-1] ** 2
    prior = 0.5 * (last * deviation**2 + spread - 1 - spread.log())
    variance = (noise[0] / noise[1]) ** 2 * (noise[1] ** 2 - (signal[1] / signal[0] * noise[0]) ** 2)
    decoder = 0.5 * (2 * math.pi * variance).log() + error[0] / (2 * variance) - math.log(bin_width)
    expected = (steps + prior + decoder).item() / math.log(2)
    assert bits.shape == (count,)
    assert bits.mean().item() == pytest.approx(expected, abs=5 * bits.std().item() / count**0.5)
    assert bits.mean() > math.log2(deviation * math.sqrt(2 * math.pi * math.e) / bin_width)


def test_bound_of_a_known_image_is_that_of_the_prior():
    schedule = linear_schedule(50, 0.002, 0.3)
    images = torch.tensor([[-1.0, 0.0, 1.0]], dtype=torch.float64)

    def denoise(x, t):
        alpha_bar = schedule.alphas_cumprod[t][:, None]
        return (x - alpha_bar.sqrt() * images) / (1 - alpha_bar).sqrt()

    bits = variational_bound(denoise, images, schedule, generator=torch.Generator().manual_seed(0), levels=3)
    last = schedule.alphas_cumprod[-1]
    prior = torch.distributions.Normal(last.sqrt() * images, (1 - last).sqrt())
    expected = torch.distributions.kl_divergence(prior, torch.distributions.Normal(0, 1)).mean() / math.log(2)
    torch.testing.assert_close(bits, expected[None], rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule])
def test_a_schedule_needs_a_timestep(make):
    with pytest.raises(UserError, match="at least 1 timestep, got 0"):
        make(0)


@pytest.mark.parametrize("betas", [[], [0.1, 1.0], [0.0], [0.1, float("nan")]])
def test_impossible_betas(betas):
    with pytest.raises(UserError, match=r"in \(0, 1\)"):
        NoiseSchedule(torch.tensor(betas, dtype=torch.float64))


def test_unknown_names_get_a_suggestion():
    with pytest.raises(UserError, match="did you mean 'cosine'"):
        named_schedule("cosin", 10)
    with pytest.raises(UserError, match=r"unknown prediction 'epsilon'.*'eps'"):
        DiffusionPipeline(tiny_unet(), prediction="epsilon")


@pytest.mark.parametrize("make", [linear_schedule, cosine_schedule])
def test_a_zero_terminal_schedule_keeps_its_beginning_and_holds_nothing_at_its_end(make):
    before, after = make(100), make(100).zero_terminal()
    assert (after.alphas_cumprod[-1], after.betas[-1]) == (0, 1)
    assert after.ends_in_noise
    assert not before.ends_in_noise
    signal, rescaled = before.alphas_cumprod.sqrt(), after.alphas_cumprod.sqrt()
    torch.testing.assert_close(rescaled[0], signal[0])
    torch.testing.assert_close(rescaled, (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1]))


def test_a_straight_path_is_the_line_from_image_to_noise():
    schedule, images, noise = StraightSchedule(4), draw(4, 2), draw(4, 2, seed=1)
    share = torch.tensor([0.25, 0.5, 0.75, 1.0], dtype=torch.float64)[:, None]
    x = add_noise(images, noise, torch.arange(4), schedule)
    torch.testing.assert_close(x, (1 - share) * images + share * noise)
    assert torch.equal(x[3], noise[3])
    assert schedule.ends_in_noise
    assert [level.item() for level in schedule.levels(-1)] == [1, 0]
    velocity = training_target(images, noise, torch.arange(4), schedule, "flow")
    torch.testing.assert_close(
        add_noise(images, noise, 3, schedule) - add_noise(images, noise, 0, schedule), 0.75 * velocity
    )


@pytest.mark.parametrize("schedule", [cosine_schedule(20).zero_terminal(), StraightSchedule(20)])
@pytest.mark.parametrize("prediction", ["v", "x0", "flow"])
def test_where_nothing_is_left_the_output_still_tells_the_image(schedule, prediction):
    images, noise = draw(2, 3), draw(2, 3, seed=1)
    target = training_target(images, noise, 19, schedule, prediction)
    found = image_and_noise(target, noise, 19, schedule, prediction)
    torch.testing.assert_close(found, Estimate(images, noise))


def test_schedules_that_end_in_noise_are_no_place_for_eps():
    for settings in ({"schedule": "straight"}, {"zero_terminal": True}):
        with pytest.raises(UserError, match="got prediction='eps'; predict v, x0 or flow"):
            DiffusionPipeline(tiny_unet(), prediction="eps", **settings)
    with pytest.raises(UserError, match="zero_terminal needs 2 timesteps or more, got 1"):
        named_schedule("linear", 1, zero_terminal=True)
    assert named_schedule("straight", 1, zero_terminal=True).ends_in_noise


@pytest.mark.parametrize("settings", [{"schedule": "straight", "prediction": "flow"}, {"zero_terminal": True}])
def test_a_pipeline_that_ends_in_noise_samples_and_is_saved(settings, tmp_path):
    pipe = DiffusionPipeline(tiny_unet(), num_timesteps=20, **settings)
    pipe.save_pretrained(tmp_path)
    again = DiffusionPipeline.from_pretrained(tmp_path)
    assert again.settings() == pipe.settings()
    call = {"seeds": [1, 2], "num_inference_steps": 3, "output_type": "pt", "progress": False}
    for sampler in ("dpmpp", "heun"):
        assert torch.equal(again([0, 1], sampler=sampler, **call).images, pipe([0, 1], sampler=sampler, **call).images)
