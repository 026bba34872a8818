"""MeanFlow: the identity on data whose average velocity is known, and flow matching where there is no interval."""

from dataclasses import replace

import pytest
import torch
from annotations import unchecked
from tiny import spread, tiny_unet, unet_config

from diffusion_baseline import DiffusionPipeline, UNet
from diffusion_baseline.diffusion import image_and_noise, simplified_loss
from diffusion_baseline.job import DiffusionJob
from diffusion_baseline.meanflow import along_walk, average_velocity_target, mean_flow_loss
from diffusion_baseline.presets import diffusion_run
from diffusion_baseline.samplers import sample_ddim, sample_euler
from diffusion_baseline.schedules import StraightSchedule
from diffusion_baseline.stepping import timestep_pairs
from diffusion_baseline.task import DiffusionTask
from var.conditions import Condition
from var.configs import config_to_dict
from var.data import open_data
from var.data.batches import Batch
from var.errors import UserError

SCHEDULE = StraightSchedule(1000)
MEAN, DEVIATION = 0.4, 0.25
CALL = {"seeds": [1, 2], "output_type": "pt", "progress": False}


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def spread_at(times):
    """Standard deviation of x_t of the Gaussian data."""
    return ((1 - times) ** 2 * DEVIATION**2 + times**2).sqrt()


def average(x, timesteps, spans):
    """(x_t - x_r) / (t - r) on the path of the Gaussian data; at an instant, its limit."""
    times, length = (timesteps[:, None] + 1) / 1000, spans[:, None] / 1000
    z = (x - (1 - times) * MEAN) / spread_at(times)
    before = times - length
    # The difference of two roots, as that of their squares over their sum.
    squares = (times + before) * (1 + DEVIATION**2) - 2 * DEVIATION**2
    return z * squares / (spread_at(times) + spread_at(before)) - MEAN


def test_the_average_velocity_of_gaussian_data_is_its_own_target():
    x, timesteps, spans = draw(4, 1), torch.tensor([999, 500, 20, 700]), torch.tensor([1000, 7, 21, 0])
    velocity = average(x, timesteps, torch.zeros(4))
    target = average_velocity_target(average, x, velocity, timesteps, spans, 1000)
    torch.testing.assert_close(target, average(x, timesteps, spans))
    other = average_velocity_target(lambda x, t, span: average(x, t, span / 2), x, velocity, timesteps, spans, 1000)
    assert ((other - average(x, timesteps, spans / 2)).abs()[:3] > 1e-4).all()


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("sample", [sample_ddim, sample_euler])
def test_any_steps_along_it_are_exact(sample, steps):
    walk = [t for t, _ in timestep_pairs(steps, 1000)]
    network = along_walk(lambda x, t, condition, spans: average(x, t, spans), walk, 1000)

    def denoise(x, t):
        return image_and_noise(network(x, t, None), x, t, SCHEDULE, "meanflow")

    noise = draw(3, 1)
    torch.testing.assert_close(sample(denoise, noise, SCHEDULE, steps=steps), MEAN + DEVIATION * noise)


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return spread(tiny_unet(interval=True, attention_levels=(1,), head_width=8))


def batch(count=6):
    images = draw(count, 1, 4, 8).float()
    return Batch(images, Condition.of(torch.arange(count) % 3), torch.arange(count))


def gradient(unet, loss):
    unet.zero_grad()
    loss.mean().backward()
    return torch.cat([parameter.grad.flatten() for parameter in unet.parameters()])


def test_without_an_interval_it_is_flow_matching(unet):
    seen, noise, later = batch(), draw(6, 1, 4, 8, seed=1).float(), torch.tensor([0, 999, 500, 3, 70, 700])
    flow = simplified_loss(lambda x, t: unet(x, t, seen.condition), seen.images, noise, later, SCHEDULE, "flow")
    for share, earlier in ((0.0, later - 1), (1.0, later)):
        loss = mean_flow_loss(unet, seen.images, noise, seen.condition, later, earlier, SCHEDULE, share)
        torch.testing.assert_close(loss, flow)
        torch.testing.assert_close(gradient(unet, loss), gradient(unet, flow), atol=1e-6, rtol=1e-4)
        flow = simplified_loss(lambda x, t: unet(x, t, seen.condition), seen.images, noise, later, SCHEDULE, "flow")


def test_a_share_of_the_batch_is_told_an_interval(unet):
    seen, noise, later = batch(), draw(6, 1, 4, 8, seed=1).float(), torch.full((6,), 900)
    losses = [
        mean_flow_loss(unet, seen.images, noise, seen.condition, later, later - 500, SCHEDULE, share)
        for share in (0.0, 0.5, 1.0)
    ]
    torch.testing.assert_close(losses[1], torch.cat([losses[2][:3], losses[0][3:]]))
    assert ((losses[2] - losses[0]).abs() > 1e-4).all()


def test_the_derivative_along_the_path_is_that_of_differences(unet):
    network, seen = unet.double(), batch()
    x, velocity = draw(6, 1, 4, 8), draw(6, 1, 4, 8, seed=1)
    timesteps, spans = torch.tensor([900, 700, 500, 40, 20, 9]), torch.tensor([800, 2, 300, 30, 9, 9])

    def predict(x, t, span):
        return network(x, t, seen.condition, span)

    step = 1e-4
    ahead, behind = (
        predict(x + move * velocity, timesteps + 1000 * move, spans + 1000 * move) for move in (step, -step)
    )
    expected = velocity - spans[:, None, None, None] / 1000 * (ahead - behind) / (2 * step)
    target = average_velocity_target(predict, x, velocity, timesteps, spans, 1000)
    assert not target.requires_grad
    torch.testing.assert_close(target, expected, atol=1e-2, rtol=1e-2)  # features of times are of single precision


def test_training_lowers_the_error():
    torch.manual_seed(0)
    pipe = DiffusionPipeline(UNet(unet_config(interval=True)), schedule="straight", prediction="meanflow")
    task, exact = (DiffusionTask(pipe, loss_weight=weight) for weight in ("adaptive", "uniform"))
    one = Batch(torch.full((4, 1, 4, 8), 0.5), Condition.of(torch.zeros(4, dtype=torch.long)), torch.arange(4))
    optimizer = torch.optim.Adam(pipe.unet.parameters(), 1e-2)

    def error():
        return exact.loss(pipe.unet, one, torch.Generator().manual_seed(0))[0].item()

    before = error()
    for step in range(12):
        optimizer.zero_grad()
        task.loss(pipe.unet, one, torch.Generator().manual_seed(step))[0].backward()
        optimizer.step()
    assert error() < 0.8 * before


def test_the_pipeline_tells_the_network_how_far_it_walks(unet):
    pipe, told = DiffusionPipeline(unet, schedule="straight", prediction="meanflow"), []
    unet.register_forward_pre_hook(lambda _, inputs: told.append([each[0].item() for each in (inputs[1], *inputs[3:])]))
    drawn = {
        sampler: pipe([0, 1], sampler=sampler, num_inference_steps=2, **CALL).images for sampler in ("ddim", "euler")
    }
    assert torch.equal(drawn["ddim"], drawn["euler"])
    assert told == 2 * [[999, 500], [499, 500]]
    told.clear()
    pipe([0, 1], sampler="heun", num_inference_steps=2, **CALL)
    pipe([0, 1], eta=0.5, num_inference_steps=1, **CALL)
    assert told == [[999], [499], [499], [999]]


def test_it_is_saved_and_loaded(unet, tmp_path):
    pipe = DiffusionPipeline(unet, schedule="straight", prediction="meanflow")
    pipe.save_pretrained(tmp_path)
    again = DiffusionPipeline.from_pretrained(tmp_path)
    call = {"num_inference_steps": 1, **CALL}
    assert torch.equal(again([0, 1], **call).images, pipe([0, 1], **call).images)


def test_average_velocities_need_two_times_and_a_straight_path():
    message = "'meanflow' and a network of two times go together, got prediction='{}' and interval={}; set both"
    with pytest.raises(UserError, match=message.format("meanflow", False)):
        DiffusionPipeline(tiny_unet(), schedule="straight", prediction="meanflow")
    with pytest.raises(UserError, match=message.format("v", True)):
        DiffusionPipeline(tiny_unet(interval=True))
    with pytest.raises(UserError, match="needs schedule='straight', got 'cosine'; set it"):
        DiffusionPipeline(tiny_unet(interval=True), prediction="meanflow")
    settings = config_to_dict(diffusion_run("digits"))
    assert not {"loss_weight", "timestep_density", "interval_share"} & settings.keys()


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_run_is_judged_by_the_mixture_that_it_is_trained_on(share, tmp_path, monkeypatch):
    judged = []
    monkeypatch.setattr("diffusion_baseline.job.generator_evaluation", lambda *given: judged.append(given[4]))
    run = diffusion_run("digits")
    unet = replace(run.unet, interval=True)
    told = {"unet": unet, "schedule": "straight", "prediction": "meanflow", "interval_share": share}
    with unchecked():
        prepared = DiffusionJob(settings=replace(run, **told), data=open_data("digits")).prepare(None)
    (exact,) = judged
    assert exact.interval_share == prepared.task.interval_share == share
    assert exact.label_drop == 0
