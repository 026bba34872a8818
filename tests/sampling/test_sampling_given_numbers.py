"""F16 and F21: numbers of Python, numpy and torch mean the same in a call; what is no number is refused in a line."""

import itertools

import numpy as np
import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_pipeline

from var.conditions import Condition
from var.errors import UserError
from var.sampling.conditions import resolve_condition
from var.sampling.labels import MOST_IMAGES, count_images, resolve_labels
from var.sampling.seeds import passed_seeds
from var.sampling.streams import random_streams

QUIET = {"output_type": "pt", "progress": False}


@pytest.fixture(scope="module", params=["var", "diffusion"])
def pipe(request):
    if request.param == "var":
        return tiny_pipeline(sides=(1, 2), depth=1, width=16, heads=2, class_names=["ant", "bee", "cat", "dog", "eel"])
    return tiny_diffusion_pipeline(["ant", "bee", "cat", "dog", "eel"], timesteps=2)


def one_line(message):
    return pytest.raises(UserError, match=rf"\A(?:{message}).*\Z")


SEEDS = [
    [1, 2],
    (1, 2),
    range(1, 3),
    np.array([1, 2]),
    np.array([1, 2], dtype=np.uint64),
    np.array([1, 2], dtype=np.int8),
    np.arange(1, 5)[::3] - [0, 2],
    [np.int64(1), np.uint8(2)],
    torch.tensor([1, 2]),
    torch.tensor([1, 2], dtype=torch.int32),
    [torch.tensor(1), 2],
]


@pytest.mark.usefixtures("_untyped")
@pytest.mark.parametrize("seeds", SEEDS)
def test_seeds_of_all_kinds_of_numbers(pipe, seeds):
    """F16: `seeds=np.array([1, 2])` was a TypeError."""
    out = pipe(seeds=seeds, **QUIET)
    assert out.seeds == [1, 2]
    assert all(type(seed) is int for seed in out.seeds)
    assert torch.equal(out.images, pipe(seeds=[1, 2], **QUIET).images)


LABELS = [
    [3, 0],
    (3, 0),
    np.array([3, 0]),
    np.array([3, 0], dtype=np.uint8),
    np.array(["dog", "ant"]),
    np.array([3, "ant"], dtype=object),
    [np.int32(3), np.int64(0)],
    [np.str_("dog"), 0],
    torch.tensor([3, 0], dtype=torch.uint8),
    [torch.tensor(3), torch.tensor(0)],
    range(3, -1, -3),
]


@pytest.mark.usefixtures("_untyped")
@pytest.mark.parametrize("class_labels", LABELS)
def test_labels_of_all_kinds_of_numbers(pipe, class_labels):
    assert pipe(class_labels, seeds=[1, 2], **QUIET).labels.tolist() == [3, 0]


@pytest.mark.usefixtures("_untyped")
@pytest.mark.parametrize("label", [3, "dog", np.int64(3), np.array(3), np.uint8(3), torch.tensor(3), np.str_("dog")])
def test_one_label_of_all_kinds_of_numbers(pipe, label):
    assert pipe(label, num_images=np.int64(2), seeds=[1, 2], **QUIET).labels.tolist() == [3, 3]


def test_settings_of_all_kinds_of_numbers():
    var, noise = tiny_pipeline(sides=(1, 2), depth=1, width=16, heads=2), tiny_diffusion_pipeline(timesteps=4)
    plain = {"guidance_scale": 2.0, "temperature": 0.5, "top_k": 4, "top_p": 0.75, "min_p": 0.25}
    for kind in (np.float32, np.float64, np.array, torch.tensor):
        given = {name: kind(value) for name, value in plain.items() if name != "top_k"} | {"top_k": np.int64(4)}
        assert torch.equal(var(1, seeds=[3], **given, **QUIET).images, var(1, seeds=[3], **plain, **QUIET).images)
    scales = [1.0, 2.5]
    expected = var(1, seeds=[3], guidance_scale=scales, **QUIET).images
    for given in (tuple(scales), np.array(scales), torch.tensor(scales), [np.float32(1), np.float64(2.5)], [1, 2.5]):
        assert torch.equal(var(1, seeds=[3], guidance_scale=given, **QUIET).images, expected)
    expected = noise(1, seeds=[3], num_inference_steps=2, eta=0.5, **QUIET).images
    for steps, eta in ((np.int64(2), np.float64(0.5)), (torch.tensor(2), torch.tensor(0.5))):
        assert torch.equal(noise(1, seeds=[3], num_inference_steps=steps, eta=eta, **QUIET).images, expected)


NO_SEEDS = [
    (5, "seeds must be a list of whole numbers, got 5"),
    (np.int64(5), "seeds must be a list of whole numbers, got 5"),
    (torch.tensor(5), "seeds must be a list of whole numbers, got 5"),
    (1.5, "seeds must be a list of whole numbers, got 1.5"),
    (True, "seeds must be a list of whole numbers, got True"),
    ("0-3", "seeds must be a list of whole numbers, got '0-3'"),
    (b"12", "seeds must be a list of whole numbers"),
    ({1, 2}, "seeds must be a list of whole numbers"),
    ({1: 2}, "seeds must be a list of whole numbers"),
    (itertools.count(), "seeds must be a list of whole numbers"),
    ((each for each in (1, 2)), "seeds must be a list of whole numbers"),
    (object(), "seeds must be a list of whole numbers"),
    ([1.5], "each of seeds must be a whole number, got 1.5"),
    ([1.0], "each of seeds must be a whole number, got 1.0"),
    ([True], "each of seeds must be a whole number, got True"),
    (["1"], "each of seeds must be a whole number, got '1'"),
    ([None], "each of seeds must be a whole number, got None"),
    ([[1], [2]], r"each of seeds must be a whole number, got \[1\]"),
    (np.array([1.0, 2.0]), "each of seeds must be a whole number, got 1.0"),
    (np.array([[1, 2]]), r"each of seeds must be a whole number, got \[1, 2\]"),
    (torch.tensor([True]), "each of seeds must be a whole number, got True"),
    ([float("nan")], "each of seeds must be a whole number, got nan"),
    ([-1], r"seeds must lie in \[0, 2\^63\), got -1"),
    ([2**63], r"seeds must lie in \[0, 2\^63\), got 9223372036854775808"),
    ([10**4000], r"seeds must lie in \[0, 2\^63\), got 1000"),
    (np.array([2**63], dtype=np.uint64), r"seeds must lie in \[0, 2\^63\), got 9223372036854775808"),
    ([], "a call makes at least one image, got seeds for 0"),
    (range(10**12), "a call makes at most 1048576 images, got seeds for 1000000000000"),
    (range(0, 10**30, 3), "a call makes at most 1048576 images, got seeds for 3333"),
]


@pytest.mark.usefixtures("_untyped")
@pytest.mark.parametrize(("seeds", "message"), NO_SEEDS)
def test_what_is_no_list_of_seeds(pipe, seeds, message):
    """F21: `seeds=5` and `seeds=[1.5]` were TypeErrors."""
    with one_line(message):
        pipe(seeds=seeds, **QUIET)


NO_COUNTS = [1.5, 2.0, True, "3", [3], np.float64(2), np.bool_(True), np.array([1, 2]), torch.tensor(2.0), float("nan")]


@pytest.mark.usefixtures("_untyped")
@pytest.mark.parametrize("count", NO_COUNTS)
def test_what_is_no_number_of_images(pipe, count):
    with one_line("num_images must be a whole number, got "):
        pipe(num_images=count, **QUIET)


@pytest.mark.parametrize("count", [10**12, MOST_IMAGES + 1, np.int64(10**12), 10**40])
def test_a_number_of_images_that_would_take_all_memory(pipe, count):
    """F7."""
    with one_line(f"a call makes at most {MOST_IMAGES} images, got num_images for "):
        pipe(num_images=count, **QUIET)
    assert count_images(None, MOST_IMAGES, None) == MOST_IMAGES


NO_LABELS = [
    1.5,
    True,
    b"12",
    object(),
    {1: 2},
    {1, 2},
    [1.0, 2.0],
    [True, 3],
    [None, 1],
    [[1, 2]],
    np.array([1.0]),
    np.array([True]),
    np.array([[1, 2]]),
    torch.zeros(2, 3, 4),
    [float("nan")],
    [2**80],
]


@pytest.mark.usefixtures("_untyped")
@pytest.mark.parametrize("class_labels", NO_LABELS)
def test_what_is_no_class(pipe, class_labels):
    with one_line("class_labels must be whole numbers, got "):
        pipe(class_labels, **QUIET)


@pytest.mark.usefixtures("_untyped")
@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"guidance_scale": "2"}, "guidance_scale must be .*got '2'"),
        ({"guidance_scale": True}, "guidance_scale must be .*got True"),
        ({"guidance_scale": None}, "guidance_scale must be .*got None"),
        ({"guidance_scale": ["a"]}, "guidance_scale must be "),
        ({"output_type": 5}, "unknown output_type 5"),
        ({"output_type": None}, "unknown output_type None"),
        ({"output_type": ["pil"]}, r"unknown output_type \['pil'\]"),
        ({"generator": 5}, "generator must be a torch.Generator or a list of them, got 5"),
        ({"generator": "cpu"}, "generator must be a torch.Generator or a list of them, got 'cpu'"),
        ({"generator": np.random.default_rng(0)}, "generator must be a torch.Generator or a list of them, got "),
        ({"generator": [None]}, "generator must be a torch.Generator or a list of them, got None in it"),
        ({"sampling": {"top_k": 3}}, "sampling must be the SamplingSettings of this pipeline, got {'top_k': 3}"),
        ({"guidence_scale": 2}, "unknown argument 'guidence_scale' of a call; did you mean 'guidance_scale'"),
        ({"class_label": 2}, "unknown argument 'class_label' of a call; did you mean 'class_labels'"),
        ({"seed": [2]}, r"unknown argument 'seed' of a call; did you mean 'seeds'\?$"),
        ({"cfg": 4}, r"unknown argument 'cfg' of a call; did you mean 'guidance_scale'\?$"),
        ({"return_intermediates": "no"}, "return_intermediates must be True or False, got 'no'"),
        ({"progress": "off"}, "progress must be True or False, got 'off'"),
        ({"callback_on_step_end": 5}, "callback_on_step_end must be a function, got 5"),
    ],
)
def test_arguments_of_other_types(pipe, keywords, message):
    """F21: the same line as for wrong values."""
    with one_line(message):
        pipe(1, **{**QUIET, **keywords})


@pytest.mark.usefixtures("_untyped")
def test_settings_of_other_types():
    var, noise = tiny_pipeline(sides=(1, 2), depth=1, width=16, heads=2), tiny_diffusion_pipeline(timesteps=2)
    for name, values in {
        "temperature": ["1", True, None, [1.0]],
        "top_k": [1.5, "3", True, None],
        "top_p": ["0.5", None],
        "smooth": ["yes", 1, None],
        "guidance_schedule": [5, None, ["linear"]],
    }.items():
        for value in values:
            with one_line(f"{name} must be |unknown {name} "):
                var(1, **{name: value}, **QUIET)
    for name, values in {
        "num_inference_steps": ["5", 1.5, True, [2]],
        "eta": ["1", None, True],
        "clip_sample": ["no", 0],
        "sampler": [5, None, ["ddim"]],
        "guidance_scale": [[1.0, 2.0]],
    }.items():
        for value in values:
            with one_line(f"{name} must be |unknown {name} "):
                noise(1, **{name: value}, **QUIET)
    with one_line("sampling must be the SamplingSettings of this pipeline"):
        noise(1, sampling=var_settings(), **QUIET)


def var_settings():
    from var.generation.sampling_settings import SamplingSettings

    return SamplingSettings()


def test_one_generator_for_several_images_is_refused(pipe):
    """Section 2 of the issue: `[g] * 3`, after which the seeds returned repeat none of the images."""
    generator = torch.Generator().manual_seed(3)
    used, twin = torch.Generator().manual_seed(4), torch.Generator().manual_seed(4)
    torch.rand(5, generator=used)
    torch.rand(5, generator=twin)
    message = "images need different generators, got the same one or an equal one as number"
    for given in (
        [generator] * 3,
        [generator, torch.Generator().manual_seed(5), generator],
        [torch.Generator(), torch.Generator(), torch.Generator().manual_seed(1)],  # never seeded: all are alike
        [torch.Generator().manual_seed(1), torch.Generator().manual_seed(2), torch.Generator().manual_seed(2)],
        [used, torch.Generator(), twin],
        (generator, generator, torch.Generator()),
    ):
        with one_line(message):
            pipe(num_images=3, generator=given, **QUIET)
    fine = [torch.Generator().manual_seed(seed) for seed in (1, 2, 3)]
    out = pipe(num_images=3, generator=fine, **QUIET)
    assert torch.equal(out.images, pipe(seeds=out.seeds, **QUIET).images)
    assert torch.equal(pipe(1, generator=[used], **QUIET).images, pipe(1, generator=twin, **QUIET).images)


def test_equal_seeds_are_asked_for_and_give_equal_images(pipe):
    images = pipe(2, seeds=[7, 7, 8], **QUIET).images
    assert torch.equal(images[0], images[1])
    assert not torch.equal(images[0], images[2])


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (Condition.of(torch.tensor([1, 7])), r"class labels must lie in \[0, 5\), got 7"),
        (Condition.of(torch.tensor([-1, 0])), r"class labels must lie in \[0, 5\), got -1"),
        (Condition.of(torch.tensor([1])), "a condition needs a row for each of 2 images, got 1"),
    ],
)
def test_conditions_that_do_not_fit(condition, message):
    with one_line(message):
        resolve_condition(condition, 2, 5, [1, 2])
    nothing = Condition(torch.tensor([5, 99]), torch.tensor([False, False]))  # labels that nobody looks at
    assert resolve_condition(nothing, 2, 5, [1, 2]) is nothing


def test_the_range_of_seeds_has_one_owner():
    with one_line(r"seeds must lie in \[0, 2\^63\), got -3"):
        passed_seeds([1, -3])
    with one_line(r"seeds must lie in \[0, 2\^63\), got -3"):
        random_streams(2, None, [1, -3])
    assert passed_seeds(range(2**63 - 2, 2**63)) == [2**63 - 2, 2**63 - 1]


def test_labels_are_whole_tensors_whatever_was_given():
    labels = resolve_labels(np.array([1, 2], dtype=np.uint8), 2, 5, [0, 1])
    assert labels.dtype == torch.long
    assert labels.tolist() == [1, 2]


@pytest.mark.usefixtures("_untyped")
@pytest.mark.parametrize(
    "images", [5, None, "x", [torch.zeros(1, 6, 6)], np.zeros((1, 1, 6, 6)), torch.zeros(1, 1, 6, 6, device="meta")]
)
def test_what_is_no_tensor_of_images(images):
    """F21: every door of images and of token maps says it in one line."""
    pipe = tiny_pipeline()
    for call in (pipe.vqvae.encode, pipe.vqvae.reconstruct):
        with pytest.raises(UserError, match=r"\Aimages must be (a tensor|dense).* got .*; (convert|bring) them"):
            call(images)
    if not isinstance(images, list):  # which is one of images here
        rule = r"\Aimages must be (pictures, an array or a tensor|dense|arrays \(n, ).* got .*; (convert|bring|move) "
        for call in (pipe.log_likelihood, pipe.classify):
            with pytest.raises(UserError, match=rule):
                call(images)
    for call in (pipe.vqvae.decode, pipe.vqvae.teacher_inputs):
        with pytest.raises(UserError, match=r"\Atoken maps must be .*; encode them with this tokenizer\Z"):
            call(images)
