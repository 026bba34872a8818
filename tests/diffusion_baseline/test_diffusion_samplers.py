"""Samplers against data whose exact denoiser is known, against the reference numbers, and against themselves."""

from itertools import pairwise

import pytest
import torch
from mixtures import Mixture
from safetensors.torch import load_file

from diffusion_baseline.samplers import ddim_step, ddpm_step, sample_ddim, sample_ddpm
from diffusion_baseline.schedules import cosine_schedule, linear_schedule
from diffusion_baseline.spacings import tapered
from diffusion_baseline.stepping import timestep_pairs
from var.errors import UserError


@pytest.fixture
def golden(shared_cases):
    return load_file(shared_cases / "diffusion" / "linear_1000.safetensors")


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def toy(x, t):
    return 0.3 * x + 0.1 * x.sin()


SCHEDULES = pytest.mark.parametrize(
    "schedule", [linear_schedule(500, 2e-4, 0.04), cosine_schedule(250)], ids=["linear", "cosine"]
)


@SCHEDULES
def test_ddim_carries_noise_to_gaussian_data_exactly(schedule):
    denoise = Mixture([1.0], [0.4], [0.25]).denoiser(schedule)
    # With this denoiser every step is affine: noise z must arrive at mean + deviation z.
    noise = torch.tensor([[-1.0], [0.0], [2.0]], dtype=torch.float64)
    samples = sample_ddim(denoise, noise, schedule, steps=250)
    torch.testing.assert_close(samples, 0.4 + 0.25 * noise, atol=1.5e-2, rtol=0)


@SCHEDULES
def test_ddpm_steps_carry_noise_to_gaussian_moments_exactly(schedule):
    denoise = Mixture([1.0], [0.4], [0.25]).denoiser(schedule)
    mean, variance = torch.zeros(1, 1, dtype=torch.float64), 1.0
    for t in reversed(range(schedule.num_timesteps)):
        # The step is affine in x: its slope is the difference between the means at x = mean + 1 and x = mean.
        x = torch.cat([mean, mean + 1])
        step_mean, step_variance = ddpm_step(x, denoise(x, torch.full((2,), t)), t, schedule)
        slope = (step_mean[1] - step_mean[0]).item()
        mean, variance = step_mean[:1], slope**2 * variance + step_variance.item()
    assert mean.item() == pytest.approx(0.4, abs=5e-3)
    # The small variance is exact only for infinitely many steps.
    assert variance**0.5 == pytest.approx(0.25, rel=15 / schedule.num_timesteps)


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "ddim eta 0.5"])
def test_samples_of_a_mixture_have_its_weights_means_and_deviations(sampler):
    count, schedule = 8_000, cosine_schedule(200)
    denoise = Mixture([0.3, 0.7], [-0.6, 0.5], [0.1, 0.2]).denoiser(schedule)
    noise, generator = draw(count, 1), torch.Generator().manual_seed(1)
    if sampler == "ddpm":
        samples = sample_ddpm(denoise, noise, schedule, generator=generator)
    else:
        eta = 0.5 if "eta" in sampler else 0.0
        samples = sample_ddim(denoise, noise, schedule, steps=200, eta=eta, generator=generator)
    left, right = samples[samples < -0.1], samples[samples >= -0.1]
    # Five standard errors, and 1 to 3 % for 200 steps instead of infinitely many.
    assert len(left) / count == pytest.approx(0.3, abs=5 * (0.21 / count) ** 0.5 + 0.003)
    for part, mean, deviation in ((left, -0.6, 0.1), (right, 0.5, 0.2)):
        assert part.mean().item() == pytest.approx(mean, abs=5 * deviation / len(part) ** 0.5 + 0.005)
        assert part.std().item() == pytest.approx(deviation, rel=5 / (2 * len(part)) ** 0.5 + 0.03)


def test_ddpm_step_is_the_reference(golden):
    schedule = linear_schedule(1000)
    rows = zip(golden["timesteps"], golden["ddpm_mean"], golden["ddpm_variance"], strict=True)
    for t, expected_mean, expected_variance in rows:
        for timestep in (int(t), t):
            mean, variance = ddpm_step(golden["x"], golden["eps"], timestep, schedule)
            # The producer's beta = 1 - alpha is float32: at t = 1 it is off by 4e-4 of itself.
            torch.testing.assert_close(mean, expected_mean, atol=3e-4 if t == 1 else 1e-5, rtol=0)
            torch.testing.assert_close(variance, expected_variance, atol=1e-6, rtol=0)


def test_ddpm_step_is_the_posterior_of_ho_et_al():
    schedule, t = linear_schedule(10), 6
    x, eps = draw(2, 3), draw(2, 3, seed=1)
    now, before, beta = schedule.alphas_cumprod[t], schedule.alphas_cumprod[t - 1], schedule.betas[t]
    image = (x - (1 - now).sqrt() * eps) / now.sqrt()
    expected = before.sqrt() * beta / (1 - now) * image + (1 - beta).sqrt() * (1 - before) / (1 - now) * x  # Eq. 7
    mean, variance = ddpm_step(x, eps, t, schedule)
    torch.testing.assert_close(mean, expected)
    torch.testing.assert_close(variance, (1 - before) / (1 - now) * beta)


def test_steps_take_a_timestep_for_every_sample():
    schedule, timesteps = linear_schedule(10), torch.tensor([0, 4, 9])
    x, eps = draw(3, 1, 2, 2), draw(3, 1, 2, 2, seed=1)
    mean, variance = ddpm_step(x, eps, timesteps, schedule)
    assert variance.shape == (3, 1, 1, 1)
    for i, t in enumerate(timesteps.tolist()):
        alone_mean, alone_variance = ddpm_step(x[i : i + 1], eps[i : i + 1], t, schedule)
        torch.testing.assert_close(mean[i : i + 1], alone_mean)
        torch.testing.assert_close(variance[i].squeeze(), alone_variance)


def test_ddim_is_the_reference(golden):
    schedule = linear_schedule(1000)
    assert [t for t, _ in timestep_pairs(50, 1000, "leading")] == golden["ddim_timesteps"].tolist()
    final = sample_ddim(toy, golden["x"], schedule, steps=50, spacing="leading")
    torch.testing.assert_close(final, golden["ddim_final"], atol=1e-4, rtol=1e-5)


def test_trailing_ddim_is_the_reference(shared_cases):
    expected = load_file(shared_cases / "diffusion" / "linear_1000_10_solvers.safetensors")
    assert [t for t, _ in timestep_pairs(10, 1000)] == expected["timesteps"].tolist()
    final = sample_ddim(toy, expected["x"], linear_schedule(1000), steps=10)
    torch.testing.assert_close(final, expected["ddim_trailing"], atol=1e-9, rtol=1e-9)


def test_ddim_step_with_noise_is_the_reference(golden):
    t = int(golden["ddim_eta_step_t"])
    mean, variance = ddim_step(golden["x"], golden["eps"], t, linear_schedule(1000), previous=t - 20, eta=1.0)
    step = mean + variance.sqrt() * golden["noise"]
    torch.testing.assert_close(step, golden["ddim_eta_step"], atol=2e-5, rtol=1e-5)


def test_ddpm_loop_is_its_steps():
    schedule, noise = cosine_schedule(4), draw(2, 3)
    generator, x = torch.Generator().manual_seed(3), noise
    for t in (3, 2, 1, 0):
        mean, variance = ddpm_step(x, toy(x, t), t, schedule)
        x = mean if t == 0 else mean + variance.sqrt() * torch.randn(2, 3, generator=generator, dtype=torch.float64)
    loop = sample_ddpm(toy, noise, schedule, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(loop, x)


@pytest.mark.parametrize("total", [1, 7, 50, 1000])
def test_any_number_of_steps_spans_the_schedule(total):
    """Of T = 1000, 501 steps began at t = 500 and 600 at 599: at images half-finished, with pure noise."""
    for steps in range(1, total + 1):
        pairs = timestep_pairs(steps, total)
        timesteps = [t for t, _ in pairs]
        assert timesteps[0] == total - 1
        assert timesteps == sorted(set(timesteps), reverse=True)
        assert [previous for _, previous in pairs] == [*timesteps[1:], -1]
        gaps = [now - before for now, before in pairs]
        assert max(gaps) - min(gaps) <= 2
        exact = [divmod(total * (steps - i), steps) for i in range(steps)]  # T (1 - i / steps), to even where halfway
        assert timesteps == [whole + (2 * rest + whole % 2 > steps) - 1 for whole, rest in exact]
    assert timesteps == list(reversed(range(total)))


def test_all_of_the_steps_are_the_same_in_both_spacings():
    assert timestep_pairs(30, 30) == timestep_pairs(30, 30, "leading")


def test_leading_steps_that_begin_far_from_the_noise_are_told(caplog):
    assert timestep_pairs(501, 1000, "leading")[0] == (500, 499)
    assert "501 steps of leading spacing begin at t = 500 of 1000" in caplog.text
    caplog.clear()
    for steps in (1, 5, 50, 250, 1000):
        timestep_pairs(steps, 1000, "leading")
    assert not caplog.text


@pytest.mark.parametrize("sampler", [sample_ddim, sample_ddpm])
def test_few_of_many_steps_carry_noise_to_gaussian_data(sampler):
    schedule = cosine_schedule(1000)
    denoise = Mixture([1.0], [0.4], [0.25]).denoiser(schedule)
    for steps in (334, 501, 600):
        samples = sampler(denoise, draw(4000, 1), schedule, steps=steps, generator=torch.Generator().manual_seed(1))
        assert samples.mean().item() == pytest.approx(0.4, abs=0.02)
        assert samples.std().item() == pytest.approx(0.25, rel=0.06)


@pytest.mark.parametrize("sampler", [sample_ddim, sample_ddpm])
def test_an_unknown_spacing_is_refused(sampler):
    with pytest.raises(UserError, match="unknown spacing 'trailling'; did you mean 'trailing'"):
        sampler(toy, draw(1, 1), linear_schedule(10), steps=2, spacing="trailling")


def test_tapered_steps_begin_in_pure_noise_shrink_and_never_repeat():
    assert tapered(5, 1000) == [999, 715, 464, 252, 88]  # 1000 (1 - i/5)^1.5 - 1
    for steps in range(1, 101):
        walk = [*tapered(steps, 100), -1]
        lengths = [before - after for before, after in pairwise(walk)]
        assert walk[0] == 99
        assert min(lengths) >= 1
    assert tapered(100, 100) == list(reversed(range(100)))


@pytest.mark.parametrize("spacing", ["trailing", "tapered", "leading"])
@pytest.mark.parametrize("steps", range(1, 11))
def test_any_number_of_steps(steps, spacing):
    seen, after = [], []
    schedule, noise = linear_schedule(10), draw(2, 3)

    def denoise(x, t):
        assert t.shape == (2,)
        assert t.dtype == torch.int64
        seen.append(t[0].item())
        return toy(x, t)

    def on_step(index, timestep, x):
        after.append((index, timestep, x))

    samples = sample_ddim(denoise, noise, schedule, steps=steps, spacing=spacing, on_step=on_step)
    assert seen == [t for t, _ in timestep_pairs(steps, 10, spacing)]
    if spacing == "leading":
        assert seen == [i * (10 // steps) for i in reversed(range(steps))]
    assert [(index, timestep) for index, timestep, _ in after] == list(enumerate(seen))
    assert after[-1][2] is samples
    # The last step goes to alpha-bar = 1: what arrives is the predicted clean image of the last t.
    x = noise if steps == 1 else after[-2][2]
    alpha_bar = schedule.alphas_cumprod[seen[-1]]
    torch.testing.assert_close(samples, (x - (1 - alpha_bar).sqrt() * toy(x, 0)) / alpha_bar.sqrt())


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_a_batch_of_eight_is_eight_batches_of_one(sampler):
    schedule, noise = cosine_schedule(12), draw(8, 1, 2, 2)

    def sample(noise, generators):
        if sampler == "ddpm":
            return sample_ddpm(toy, noise, schedule, generator=generators)
        return sample_ddim(toy, noise, schedule, steps=6, eta=1.0, generator=generators)

    def generator(i):
        return torch.Generator().manual_seed(i)

    together = sample(noise, [generator(i) for i in range(8)])
    alone = torch.cat([sample(noise[i : i + 1], [generator(i)]) for i in range(8)])
    assert torch.equal(together, alone)
    assert torch.equal(alone[:1], sample(noise[:1], generator(0)))
    assert not torch.equal(together, sample(noise, [generator(i + 1) for i in range(8)]))


def test_without_a_generator_the_seed_is_fresh_and_the_global_one_untouched():
    schedule, noise, state = cosine_schedule(5), draw(2, 3), torch.get_rng_state()
    assert not torch.equal(sample_ddpm(toy, noise, schedule), sample_ddpm(toy, noise, schedule))
    assert torch.equal(state, torch.get_rng_state())


def test_single_precision_stays_single():
    x = draw(2, 3).float()
    assert sample_ddpm(toy, x, linear_schedule(5), generator=torch.Generator().manual_seed(0)).dtype == torch.float32
    mean, variance = ddpm_step(x, x, torch.tensor([1, 2]), linear_schedule(5))
    assert mean.dtype == variance.dtype == torch.float32


@pytest.mark.parametrize("steps", [0, 11, -1, True])
def test_impossible_numbers_of_steps(steps):
    with pytest.raises(UserError, match=f"1 to 10 steps with this schedule, got {steps!r}"):
        sample_ddim(toy, draw(1, 1), linear_schedule(10), steps=steps)


def test_impossible_eta_and_generators():
    with pytest.raises(UserError, match=r"eta must be between 0 .* got 1.5"):
        sample_ddim(toy, draw(1, 1), linear_schedule(10), steps=2, eta=1.5)
    with pytest.raises(UserError, match="one generator per sample is needed, got 1 for 2"):
        sample_ddpm(toy, draw(2, 1), linear_schedule(10), generator=[torch.Generator()])


@pytest.mark.parametrize("sample", [sample_ddim, sample_ddpm])
def test_what_is_not_finite_is_no_image(sample):
    with pytest.raises(UserError, match="sampling needs finite images, got NaN or infinite ones"):
        sample(lambda x, timesteps: x * float("nan"), torch.zeros(1, 1, 2, 2), cosine_schedule(4), steps=2)
