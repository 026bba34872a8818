"""Guidance by a classifier of noisy images: exact where all is known, and wired into the pipeline."""

import pytest
import torch
from annotations import unchecked
from tiny import tiny_classifier, tiny_diffusion_pipeline

from diffusion_baseline.classifier.guiding import class_gradient, towards_class
from diffusion_baseline.classifier.model import NoisyClassifier
from diffusion_baseline.samplers import sample_ddim
from diffusion_baseline.schedules import Estimate, StraightSchedule, cosine_schedule, linear_schedule
from var import Guidance
from var.errors import UserError
from var.images import to_uint8

MEANS, DEVIATION = torch.tensor([-0.6, 0.5], dtype=torch.float64), 0.2
SCHEDULES = [cosine_schedule(200), linear_schedule(200, 5e-4, 0.1), StraightSchedule(200)]


def classify(schedule):
    """The exact classifier of the components of a mixture of two normal distributions of equal weight."""

    def logits(x, t):
        signal, noise = schedule.signal_and_noise(t, x)
        return -0.5 * (x - signal * MEANS) ** 2 / (signal**2 * DEVIATION**2 + noise**2)

    return logits


def component(schedule, x, t, label):
    """The exact estimate where the data are one component."""
    signal, noise = schedule.signal_and_noise(t, x)
    variance = signal**2 * DEVIATION**2 + noise**2
    mean = MEANS[label][:, None] if label.ndim else MEANS[label]
    image = mean + signal * DEVIATION**2 / variance * (x - signal * mean)
    return Estimate(image, noise / variance * (x - signal * mean))


def mixture(schedule, x, t):
    """The exact estimate where the data are both."""
    share = classify(schedule)(x, t).softmax(dim=1)[..., None]
    both = [component(schedule, x, t, torch.tensor(label)) for label in (0, 1)]
    return Estimate(*((share * torch.stack(parts, dim=1)).sum(dim=1) for parts in zip(*both, strict=True)))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("t", [0, 60, 150, 198])
def test_an_exact_classifier_leads_from_the_mixture_to_the_component(schedule, t):
    x = torch.linspace(-2, 2, 10, dtype=torch.float64)[:, None]
    t, labels = torch.full((10,), t), torch.arange(10) % 2
    gradient = class_gradient(classify(schedule), x, t, labels)
    found, unguided = mixture(schedule, x, t), component(schedule, x, t, labels)
    _, noise = schedule.signal_and_noise(t, x)
    guided = towards_class(found, gradient, t, schedule, 1.0)
    for mine, exact in zip(guided, unguided, strict=True):
        torch.testing.assert_close(mine, exact, atol=1e-9, rtol=1e-9)
    thrice = towards_class(found, gradient, t, schedule, 3.0)
    torch.testing.assert_close(thrice.noise, found.noise - 3 * noise * gradient)
    signal, noise = schedule.signal_and_noise(t, x)
    torch.testing.assert_close(signal * thrice.image + noise * thrice.noise, x)  # both still make x_t


def test_guided_samples_are_those_of_their_component():
    schedule = SCHEDULES[0]
    noise = torch.tensor([[-1.5], [-0.4], [0.3], [1.5]], dtype=torch.float64)
    labels = torch.tensor([1, 0, 1, 0])

    def denoise(x, t):
        gradient = class_gradient(classify(schedule), x, t, labels)
        return towards_class(mixture(schedule, x, t), gradient, t, schedule, 1.0).noise

    samples = sample_ddim(denoise, noise, schedule, steps=100)
    expected = MEANS[labels][:, None] + DEVIATION * noise
    torch.testing.assert_close(samples, expected, atol=0.02, rtol=0)


def test_images_without_a_class_are_not_moved():
    schedule = SCHEDULES[0]
    x, t = torch.randn(3, 1, dtype=torch.float64), torch.tensor([50, 50, 50])
    gradient = class_gradient(classify(schedule), x, t, torch.tensor([0, 2, 1]))
    assert (gradient[:, 0] != 0).tolist() == [True, False, True]


def test_nothing_is_moved_where_nothing_of_the_image_is_left():
    found = Estimate(torch.zeros(2, 1), torch.ones(2, 1))
    schedule = SCHEDULES[2]
    assert towards_class(found, torch.ones(2, 1), torch.tensor([199, 199]), schedule, 5.0).image.tolist() == [[0], [0]]


CALL = {"class_labels": [1, 4], "seeds": [5, 6], "num_inference_steps": 4, "output_type": "pt", "progress": False}


def test_a_pipeline_steps_as_its_classifier_says():
    pipe, classifier = tiny_diffusion_pipeline(), tiny_classifier().train()
    call = {**CALL, "num_inference_steps": 1, "guidance_scale": 0}
    made = pipe(**call, guidance=Guidance(classifier=classifier, classifier_scale=0.05)).images
    x = torch.cat([torch.randn(1, 1, 4, 8, generator=torch.Generator().manual_seed(seed)) for seed in (5, 6)])
    t, labels = torch.tensor([19, 19]), torch.tensor([1, 4])
    with torch.no_grad():
        output = pipe.unet(x, t, torch.tensor([5, 5]))
    signal, noise = pipe.schedule.signal_and_noise(t, x)
    gradient = class_gradient(classifier, x, t, labels)
    expected = signal * x - noise * output + 0.05 * noise**2 / signal * gradient
    torch.testing.assert_close(made * 2 - 1, expected.clamp(-1, 1), atol=1e-4, rtol=1e-4)
    assert classifier.training  # as before the call
    assert all(parameter.grad is None for parameter in classifier.parameters())


def test_the_scale_the_interval_and_the_seed_hold_for_it_too():
    pipe, classifier = tiny_diffusion_pipeline(), tiny_classifier()

    def made(scale=1.0, labels=(1, 4), **settings):
        call = {**CALL, "class_labels": list(labels), "seeds": list(range(5, 5 + len(labels)))}
        return pipe(**call, guidance=Guidance(classifier=classifier, classifier_scale=scale, **settings)).images

    off = pipe(**CALL).images
    assert torch.equal(made(0.0), off)
    assert not torch.equal(made(5.0), off)
    assert torch.equal(made(5.0, stop=1e-6), pipe(**CALL, guidance_scale=1).images)
    torch.testing.assert_close(made(5.0)[:1], made(5.0, labels=[1]), atol=1e-5, rtol=1e-5)


def test_its_gradient_vanishes_with_the_signal():
    classifier = tiny_classifier(schedule="straight")
    x, labels = torch.randn(2, 1, 4, 8), torch.tensor([1, 4])
    sizes = [class_gradient(classifier, x, torch.full((2,), t), labels).abs().max().item() for t in (19, 18, 5)]
    assert sizes[0] == 0 < 5 * sizes[1] < sizes[2]


def test_it_is_saved_and_loaded_strictly(tmp_path):
    classifier = tiny_classifier(class_names=list("abcde"))
    classifier.save_pretrained(tmp_path)
    again = NoisyClassifier.from_pretrained(tmp_path)
    assert again.config == classifier.config
    x, t = torch.randn(2, 1, 4, 8), torch.tensor([3, 15])
    assert torch.equal(again(x, t), classifier(x, t))
    assert not torch.equal(again(x, t), again(x, t.flip(0)))
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text().replace('"base_c', '"bose_c'))
    with pytest.raises(UserError, match="no field 'bose_channels'; did you mean 'base_channels'"):
        NoisyClassifier.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 4}, "classifier must have the same num_classes as what it guides, 5, got 4; take another"),
        ({"class_names": list("vwxyz")}, "the same class_names"),
        ({"image_size": (4, 4)}, "the same image_size"),
        ({"image_channels": 3}, "the same image_channels"),
        ({"schedule": "linear"}, "the same schedule as what it guides, 'cosine', got 'linear'"),
        ({"num_timesteps": 1000}, "the same num_timesteps as what it guides, 20, got 1000"),
        ({"zero_terminal": True}, "the same zero_terminal"),
    ],
)
def test_a_classifier_of_something_else_is_refused(changes, message):
    pipe = tiny_diffusion_pipeline(class_names=list("abcde"))
    with pytest.raises(UserError, match=message):
        pipe(**CALL, guidance=Guidance(classifier=tiny_classifier(**changes)))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"classifier_scale": 2.0}, "classifier_scale needs a classifier, got none"),
        ({"guidance": Guidance(classifier="digits")}, "classifier must be a NoisyClassifier, got str"),
        (
            {"guidance": Guidance(classifier=tiny_classifier()), "class_labels": None},
            "guides towards classes, got none",
        ),
        ({"classifier_scale": 1e31}, "guidance_scale must lie within"),
    ],
)
def test_what_cannot_guide_is_refused(given, message):
    with unchecked(), pytest.raises(UserError, match=message):
        tiny_diffusion_pipeline()(**{**CALL, **given})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 1}, "num_classes must be at least 2"),
        ({"class_names": ["a"]}, "5 classes need a name each, got 1"),
        ({"schedule": "cosin"}, "unknown noise schedule 'cosin'; did you mean 'cosine'"),
        ({"multipliers": (1, 2, 2, 2)}, "image_size must be a multiple of 8"),
        ({"norm_groups": 3}, "not a multiple of norm_groups 3"),
    ],
)
def test_a_config_that_cannot_be_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        tiny_classifier(**changes)


def test_images_stay_images():
    pipe = tiny_diffusion_pipeline()
    images = pipe(**CALL, guidance=Guidance(classifier=tiny_classifier(), classifier_scale=100.0)).images
    assert to_uint8(images * 2 - 1).shape == (2, 1, 4, 8)
