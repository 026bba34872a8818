"""Guidance at some noise levels only, and by a weaker model in the place of the null."""

import pytest
import torch
from tiny import tiny_diffusion_pipeline

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.samplers import SAMPLERS
from diffusion_baseline.samplers.heun import MOST_NOISE
from diffusion_baseline.sampling_settings import SamplingSettings
from diffusion_baseline.spacings import SPACINGS
from var import Guidance
from var.errors import UserError

CALL = {
    "class_labels": [1, 4],
    "seeds": [5, 6],
    "num_inference_steps": 6,
    "guidance_scale": 3.0,
    "output_type": "pt",
    "progress": False,
}


@pytest.fixture(scope="module")
def strong():
    return tiny_diffusion_pipeline()


@pytest.fixture
def rows(strong):
    """The rows of each call of the network."""
    seen = []
    hook = strong.unet.register_forward_hook(lambda _module, given, _out: seen.append(len(given[0])))
    yield seen
    hook.remove()


def images(pipe, **settings):
    return pipe(**{**CALL, **settings}).images


def levels(pipe, steps=6):
    seen = []
    pipe(**CALL, callback_on_step_end=lambda _index, timestep, _x: seen.append(timestep))
    return [pipe.schedule.levels(timestep)[1].item() for timestep in seen]


def test_the_whole_interval_is_guidance_as_it_was(strong, rows):
    today = images(strong)
    assert rows == [4] * 6
    for given in (
        {"guidance_interval": (0, 1)},
        {"guidance": Guidance(start=0, stop=1)},
        {"guidance": Guidance(scale=3)},
    ):
        assert torch.equal(images(strong, **given), today)
    assert not torch.equal(images(strong, guidance_schedule="linear"), today)


@pytest.mark.parametrize("sampler", ["ddim", "dpmpp", "heun"])
@pytest.mark.parametrize(
    "changes", [{}, {"guidance_scale": 1}, {"guidance_schedule": "linear"}, {"spacing": "tapered"}]
)
@pytest.mark.parametrize("interval", [(0, 1), (0.3, 0.7)])
def test_evaluations_are_those_of_a_call(strong, rows, sampler, changes, interval):
    given = {"guidance_scale": 3.0, "guidance_interval": interval, "sampler": sampler, **changes}
    images(strong, **given, num_inference_steps=None)
    settings = SamplingSettings(**given)
    counted = settings.evaluations(strong.schedule.noise)
    first = strong.schedule.noise[-1]
    # What Heun's method saves out of nearly pure noise is not counted on.
    saved = 0
    if sampler == "heun" and first / (1 - first**2) ** 0.5 > MOST_NOISE:
        second = SPACINGS[settings.spacing](settings.steps(len(strong.schedule.noise)), len(strong.schedule.noise))[1]
        saved = 1 if settings.guidance_at(strong.schedule.noise[second]) == 1 else 2
    assert counted - saved == sum(rows) / 2


def test_without_a_number_of_steps_it_is_the_samplers_own():
    usual = {name: SamplingSettings(sampler=name).steps(1000) for name in SAMPLERS}
    assert usual == {"ddim": 50, "ddpm": 1000, "dpmpp": 10, "euler": 20, "expab": 8, "heun": 10, "unipc": 8}
    assert SamplingSettings().steps(20) == 20
    assert SamplingSettings(sampler="ddpm", num_inference_steps=5).steps(1000) == 5


def test_an_interval_of_nothing_is_no_guidance_and_costs_none(strong, rows):
    off = images(strong, guidance_scale=1)
    between = levels(strong)[2] + 1e-9  # above a level that is visited, below the one before
    rows.clear()
    for interval in ((0, 0), (0.5, 0.5), (between, between + 1e-9)):
        assert torch.equal(images(strong, guidance_interval=interval), off)
    assert rows == [2] * 18


def test_the_null_half_is_computed_in_the_interval_alone(strong, rows):
    visited = levels(strong)
    rows.clear()
    some = images(strong, guidance_interval=(visited[4], visited[1]))
    assert rows == [2, 4, 4, 4, 2, 2]  # its upper end belongs to it, its lower end does not
    assert torch.equal(some, images(strong, guidance=Guidance(start=visited[4], stop=visited[1])))
    assert not torch.equal(some, images(strong))


def test_one_predictor_is_as_good_as_another_before_the_interval(strong):
    visited = levels(strong)
    states = []

    def keep(index, _timestep, x):
        states[-1].append(x)

    for settings in ({"guidance_scale": 1}, {"guidance_interval": (0, visited[3])}):
        states.append([])
        images(strong, **settings, callback_on_step_end=keep)
    assert [torch.equal(*pair) for pair in zip(*states, strict=True)] == [True] * 3 + [False] * 3


def test_a_linear_schedule_rises_from_one_in_pure_noise():
    linear = SamplingSettings(guidance_scale=3.0, guidance_schedule="linear", guidance_interval=(0.1, 1.0))
    assert [linear.guidance_at(level) for level in (1.0, 0.75, 0.5, 0.1)] == [1.0, 1.5, 2.0, 1.0]
    assert SamplingSettings(guidance_scale=3.0).guidance_at(0.5) == 3.0


def test_what_was_added_is_told_where_it_is_chosen():
    before = ["guidance_scale", "num_inference_steps", "sampler", "spacing", "eta", "clip_sample"]
    assert list(SamplingSettings().keywords()) == before
    assert SamplingSettings(guidance_interval=[0.1, 0.8]).keywords()["guidance_interval"] == (0.1, 0.8)


def test_the_model_itself_in_the_place_of_the_null_changes_nothing(strong):
    off = images(strong, guidance_scale=1)
    assert torch.equal(images(strong, guidance=Guidance(weaker=strong)), off)
    assert torch.equal(images(strong, guidance=Guidance(weaker=tiny_diffusion_pipeline())), off)


def test_a_weaker_model_stands_for_the_null(strong, rows):
    weaker = tiny_diffusion_pipeline(base_channels=4, norm_groups=2)
    x, t = strong(**{**CALL, "num_inference_steps": 1}, guidance=Guidance(weaker=weaker)), None
    noise = torch.cat([torch.randn(1, 1, 4, 8, generator=torch.Generator().manual_seed(seed)) for seed in (5, 6)])
    t, labels = torch.tensor([19, 19]), torch.tensor([1, 4])
    with torch.no_grad():
        mine, theirs = (each.unet(noise, t, labels) for each in (strong, weaker))
    signal, sigma = strong.schedule.signal_and_noise(t, noise)
    expected = signal * noise - sigma * (theirs + 3 * (mine - theirs))
    torch.testing.assert_close(x.images * 2 - 1, expected.clamp(-1, 1), atol=1e-3, rtol=1e-3)
    rows.clear()
    images(strong, guidance=Guidance(weaker=weaker), class_labels=None)
    assert rows == [2] * 6  # it guides images of nothing in particular too
    nothing = {"class_labels": None, "guidance": Guidance(weaker=weaker)}
    assert not torch.equal(images(strong, **nothing), images(strong, class_labels=None))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"guidance_interval": (0.8, 0.1)}, r"two noise levels in \[0, 1\], the lower one first, got 0.8 and 0.1"),
        ({"guidance_interval": (-0.1, 0.5)}, "got -0.1 and 0.5"),
        ({"guidance_interval": (0.1, 1.5)}, "got 0.1 and 1.5"),
        ({"guidance_interval": (0.1, float("nan"))}, "guidance_interval must be a list of 2, a finite number"),
        ({"guidance_interval": 0.5}, "guidance_interval must be a list of 2"),
        ({"guidance": Guidance(stop=8)}, "got 0.0 and 8.0"),
        ({"guidance": Guidance(scale=2)}, "guidance says guidance_scale = 2.0, got 3.0 beside it"),
        ({"guidance": Guidance(start=0.1), "guidance_interval": [0.1, 0.9]}, r"= \(0.1, 1.0\), got \[0.1, 0.9\]"),
        ({"guidance_schedule": "linaer"}, "unknown guidance_schedule 'linaer'; did you mean 'linear'"),
        ({"guidance": Guidance(scale=(3.0, 2.0)), "guidance_scale": (3, 2)}, "guidance_scale must be a finite number"),
    ],
)
def test_what_cannot_be_is_refused(strong, given, message):
    with pytest.raises(UserError, match=message):
        images(strong, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"start": 3, "stop": 3}, "must start below its stop, got 3 and 3"),
        ({"stop": 0}, "got 0 and 0"),
        ({"start": float("nan")}, "start must be a whole number or a finite number or None, got nan"),
        ({"scale": float("inf")}, "scale must be"),
        ({"scale": 1e31}, "guidance_scale must lie within"),
        ({"schedule": "linaer"}, "unknown schedule of guidance 'linaer'; did you mean 'linear'"),
    ],
)
def test_guidance_checks_its_own_numbers(given, message):
    with pytest.raises(UserError, match=message):
        Guidance(**given)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda pipe: tiny_diffusion_pipeline(num_classes=4), "the same num_classes as what it guides, 5, got 4"),
        (lambda pipe: tiny_diffusion_pipeline(image_size=8), r"the same image_size as what it guides, \(4, 8\)"),
        (lambda pipe: tiny_diffusion_pipeline(timesteps=30), "the same num_timesteps as what it guides, 20, got 30"),
        (lambda pipe: DiffusionPipeline(pipe.unet, num_timesteps=20, schedule="linear"), "the same schedule"),
        (lambda pipe: DiffusionPipeline(pipe.unet, num_timesteps=20, prediction="x0"), "the same prediction"),
        (lambda pipe: pipe.unet, "weaker must be a DiffusionPipeline, as what it guides, got UNet"),
    ],
)
def test_a_weaker_model_that_does_not_fit_is_refused(strong, other, message):
    with pytest.raises(UserError, match=message):
        images(strong, guidance=Guidance(weaker=other(strong)))
