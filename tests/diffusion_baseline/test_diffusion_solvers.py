"""DPM-Solver++, UniPC, ExpAB, Heun and Euler: the reference numbers, Gaussian data, and their orders on a mixture."""

import math

import pytest
import torch
from mixtures import Mixture
from safetensors.torch import load_file

from diffusion_baseline.samplers import (
    find_sampler,
    network_evaluations,
    sample_dpmpp,
    sample_euler,
    sample_expab,
    sample_heun,
    sample_unipc,
)
from diffusion_baseline.schedules import Estimate, StraightSchedule, cosine_schedule, linear_schedule
from diffusion_baseline.stepping import Walk, timestep_pairs
from var.errors import UserError

SCHEDULES = {
    # Noise grows with time from zero on: there the orders are seen. The usual start of beta makes it a square root.
    "linear": linear_schedule(4096, 1e-6, 0.005),
    "cosine": cosine_schedule(1000),
    "zero terminal": cosine_schedule(1000).zero_terminal(),
    "straight": StraightSchedule(4096),
}
GAUSSIAN = Mixture([1.0], [0.4], [0.25])
MIXTURE = Mixture([0.3, 0.7], [-0.6, 0.5], [0.2, 0.3])
SOLVERS = ["ddim", "euler", "heun", "dpmpp", "unipc", "expab"]


def toy(x, t):
    return 0.3 * x + 0.1 * x.sin()


def error(data, schedule, sampler, steps):
    """How far the walk leads from the same quantile of the data."""
    noise = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None]
    samples = find_sampler(sampler)(data.denoiser(schedule), noise, schedule, steps=steps)
    end = data.below(noise, schedule, schedule.num_timesteps - 1)
    return (data.below(samples, schedule, -1) - end).abs().mean().item()


@pytest.mark.parametrize(("sample", "name"), [(sample_dpmpp, "dpmpp_2m"), (sample_heun, "heun")])
def test_ten_steps_are_the_reference(shared_cases, sample, name):
    expected = load_file(shared_cases / "diffusion" / "linear_1000_10_solvers.safetensors")
    final = sample(toy, expected["x"], linear_schedule(1000), steps=10)
    torch.testing.assert_close(final, expected[name], atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampler", SOLVERS)
def test_many_steps_carry_noise_to_gaussian_data(sampler, schedule):
    assert error(GAUSSIAN, SCHEDULES[schedule], sampler, 60) < (2e-2 if sampler in ("ddim", "euler") else 4e-3)


@pytest.mark.parametrize(
    ("sampler", "schedule", "order"),
    [
        *(("ddim", schedule, 1) for schedule in SCHEDULES),
        ("heun", "linear", 1.8),  # its step out of nearly pure noise is still felt
        ("heun", "straight", 2),
        # Their last step leads to infinite log-SNR, which costs a logarithm of the steps, and one order of UniPC.
        *(("dpmpp", schedule, 1.8) for schedule in SCHEDULES),
        *(("unipc", schedule, 1.9) for schedule in SCHEDULES),
        *(("expab", schedule, 1.8) for schedule in SCHEDULES if schedule != "linear"),  # 8 steps are too good there
    ],
)
def test_the_error_on_a_mixture_falls_by_the_order_of_the_sampler(sampler, schedule, order):
    few, many = (error(MIXTURE, SCHEDULES[schedule], sampler, steps) for steps in (8, 64))
    assert math.log(few / many, 8) == pytest.approx(order, abs=0.3)


def test_short_of_the_clean_image_the_corrector_raises_the_order():
    schedule = SCHEDULES["linear"]
    noise = torch.linspace(-2, 2, 41, dtype=torch.float64)[:, None]
    begin, denoise = MIXTURE.below(noise, schedule, 4095), MIXTURE.denoiser(schedule)

    def errors(sampler, arrived):
        for steps in (8, 64):
            walk = Walk([round(4095 - i * 3072 / steps) for i in range(steps + 1)], arrived)
            x = find_sampler(sampler)(denoise, noise, schedule, spacing=walk)
            yield (MIXTURE.below(x, schedule, 1023) - begin).abs().mean().item()

    orders = {
        name: math.log(few / many, 8)
        for name, (few, many) in ((name, errors(name, lambda x, t: x)) for name in ("dpmpp", "unipc"))
    }
    assert orders == pytest.approx({"dpmpp": 2, "unipc": 3}, abs=0.2)
    # What is changed on the way, as editing does, is not undone: there is no corrector then.
    assert [*errors("unipc", lambda x, t: x.clone())] == [*errors("dpmpp", lambda x, t: x)]


@pytest.mark.parametrize("schedule", ["cosine", "zero terminal", "straight"])  # from noise that is pure, or nearly
def test_few_steps_of_higher_order_are_worth_more_evaluations_of_ddim(schedule):
    ddim = error(MIXTURE, SCHEDULES[schedule], "ddim", 15)
    assert error(MIXTURE, SCHEDULES[schedule], "dpmpp", 8) < ddim
    expab, unipc, dpmpp = (error(MIXTURE, SCHEDULES[schedule], sampler, 4) for sampler in ("expab", "unipc", "dpmpp"))
    assert 2 * expab < unipc < dpmpp
    assert network_evaluations("heun", 8) == 15
    assert error(MIXTURE, SCHEDULES[schedule], "heun", 8) < ddim


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_expab_is_exact_for_images_on_a_line_over_the_share_of_the_signal(schedule):
    schedule, noise = SCHEDULES[schedule], torch.tensor([[0.5], [-1.0]], dtype=torch.float64)
    last = schedule.num_timesteps - 1

    def denoise(x, t):
        signal, spread = schedule.signal_and_noise(t, x)
        image = (0.7 - 0.4 * signal**2 / (signal**2 + spread**2)).expand_as(x)
        return Estimate(image, (x - signal * image) / spread)

    def walked(*between):
        walk = Walk([last, last // 2, *between, last // 8], lambda x, t: x)
        return sample_expab(denoise, noise, schedule, spacing=walk)

    torch.testing.assert_close(walked(), walked(*range(last // 2 - 1, last // 8, -(last // 90))))
    torch.testing.assert_close(sample_expab(denoise, noise, schedule, steps=2), torch.full((2, 1), 0.3).double())


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_euler_is_ddim(schedule):
    noise, schedule = torch.randn(3, 1, generator=torch.Generator().manual_seed(0)).double(), SCHEDULES[schedule]
    denoise = MIXTURE.denoiser(schedule)
    expected = find_sampler("ddim")(denoise, noise, schedule, steps=5)
    assert torch.equal(sample_euler(denoise, noise, schedule, steps=5), expected)


def test_euler_on_a_straight_path_follows_the_velocity():
    schedule, x = StraightSchedule(1000), torch.tensor([[0.5], [-1.0]], dtype=torch.float64)
    denoise = MIXTURE.denoiser(schedule)
    samples = sample_euler(denoise, x, schedule, steps=4)
    for t, previous in timestep_pairs(4, 1000):
        image, noise = denoise(x, torch.full((2,), t))
        x = x + (previous - t) / 1000 * (noise - image)
    torch.testing.assert_close(samples, x)


@pytest.mark.parametrize("schedule", ["zero terminal", "straight"])
@pytest.mark.parametrize("sampler", [*SOLVERS, "ddpm"])
@pytest.mark.parametrize("steps", [1, 2])
def test_one_step_from_nothing_but_noise_is_the_mean_of_the_data(sampler, schedule, steps):
    schedule, seen = SCHEDULES[schedule], []
    noise = torch.tensor([[1.0], [-2.0]], dtype=torch.float64)

    def denoise(x, t):
        seen.append(GAUSSIAN.denoiser(schedule)(x, t).image)
        return GAUSSIAN.denoiser(schedule)(x, t)

    samples = find_sampler(sampler)(denoise, noise, schedule, steps=steps)
    torch.testing.assert_close(seen[0], torch.full((2, 1), 0.4, dtype=torch.float64))
    assert samples.isfinite().all()
    saved = sampler == "heun" and schedule is SCHEDULES["zero terminal"] and steps > 1
    assert len(seen) == network_evaluations(sampler, steps) - saved
    if steps == 1:
        assert torch.equal(samples, seen[0])


@pytest.mark.parametrize("sample", [sample_expab, sample_dpmpp, sample_unipc, sample_heun, sample_euler])
def test_bad_requests(sample):
    noise, schedule = torch.zeros(1, 1, dtype=torch.float64), linear_schedule(10)
    with pytest.raises(UserError, match="1 to 10 steps with this schedule, got 11"):
        sample(toy, noise, schedule, steps=11)
    with pytest.raises(UserError, match="unknown spacing 'trailling'; did you mean 'trailing'"):
        sample(toy, noise, schedule, steps=2, spacing="trailling")
    with pytest.raises(UserError, match="sampling needs finite images, got NaN or infinite ones"):
        sample(lambda x, t: x * float("nan"), noise, schedule, steps=2)


@pytest.mark.parametrize("sampler", ["expab", "heun", "dpmpp", "unipc"])
def test_a_batch_of_four_is_four_batches_of_one(sampler):
    schedule, noise = cosine_schedule(100), torch.randn(4, 1, generator=torch.Generator().manual_seed(1)).double()
    sample, denoise = find_sampler(sampler), MIXTURE.denoiser(schedule)
    alone = torch.cat([sample(denoise, each[None], schedule, steps=4) for each in noise])
    torch.testing.assert_close(sample(denoise, noise, schedule, steps=4), alone)
