"""Vectors in calls of both pipelines: what they take, what they refuse, seeds, the null half, folders."""

import numpy as np
import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_pipeline, transformer_config, unet_config
from tiny_models import one_line

from var.conditions import Condition
from var.errors import UserError
from var.sampling.conditions import resolve_condition
from var.sampling.labels import count_images, label_of, resolve_labels
from var.sampling.vectors import count_vectors, resolve_vectors

WIDTH = 6
MAKERS = {"var": tiny_pipeline, "diffusion": lambda **changes: tiny_diffusion_pipeline(timesteps=3, **changes)}
QUIET = {"output_type": "pt", "progress": False}


def refused(message):
    return one_line(f".*(?:{message})")


def some_vectors(count=3, seed=0):
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module", params=MAKERS)
def make(request):
    return MAKERS[request.param]


@pytest.fixture(scope="module")
def both(make):
    """A pipeline of classes and vectors; no test may change it."""
    return make(vector_width=WIDTH)


@pytest.fixture(scope="module")
def alone(make):
    """A pipeline of vectors alone."""
    return make(vector_width=WIDTH, num_classes=0)


def test_vectors_and_classes_both_matter(both):
    vectors = some_vectors()
    images = both([1, 2, 3], vectors=vectors, seeds=[0, 1, 2], **QUIET).images
    assert not torch.equal(both([1, 2, 3], vectors=vectors.flip(0), seeds=[0, 1, 2], **QUIET).images, images)
    assert not torch.equal(both([3, 2, 1], vectors=vectors, seeds=[0, 1, 2], **QUIET).images, images)
    assert not torch.equal(both(vectors=vectors, seeds=[0, 1, 2], **QUIET).images, images)


def test_vectors_come_in_every_form(both):
    vectors = some_vectors()
    call = {"class_labels": [1, 2, 3], "seeds": [0, 1, 2], **QUIET}
    images = both(vectors=vectors, **call).images
    assert torch.equal(both(vectors=vectors.numpy(), **call).images, images)
    assert torch.equal(both(vectors=vectors.tolist(), **call).images, images)
    assert torch.equal(both(vectors=vectors.double().requires_grad_(), **call).images, images)
    for form in ([*vectors], vectors.numpy().astype(">f8"), vectors.to_sparse(), vectors.numpy()[::-1][::-1]):
        assert torch.equal(both(vectors=form, **call).images, images)
    same = both(vectors=vectors[:1].repeat(3, 1), **call).images
    assert torch.equal(both(vectors=vectors[0], **call).images, same)
    condition = Condition(torch.tensor([1, 2, 3]), torch.ones(3, dtype=torch.bool), vectors=vectors)
    assert torch.equal(both(condition, seeds=[0, 1, 2], **QUIET).images, images)


def test_vectors_alone_say_how_many_images(alone):
    out = alone(vectors=some_vectors(4), **QUIET)
    assert len(out.images) == 4
    assert out.labels.tolist() == [0] * 4  # the null label of no classes
    assert len(alone(vectors=some_vectors(1)[0], num_images=2, **QUIET).images) == 2
    assert len(alone(**QUIET).images) == 1


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_an_image_depends_on_its_own_seed_and_vector_only(both, scale):
    vectors = some_vectors()
    together = both([1, 1, 2], vectors=vectors, seeds=[5, 6, 7], guidance_scale=scale, **QUIET).images
    for place, (label, seed) in enumerate(((1, 5), (1, 6), (2, 7))):
        one = both(label, vectors=vectors[place], seeds=[seed], guidance_scale=scale, **QUIET).images
        torch.testing.assert_close(one[0], together[place], atol=1e-5, rtol=1e-5)


def test_the_null_forgets_class_and_vector(both, alone):
    call = {"seeds": [0, 1, 2], **QUIET}
    for pipe in (both, alone):
        nothing = pipe(num_images=3, **call).images
        given = torch.zeros(3, dtype=torch.bool)
        for condition in (
            Condition(None, given, vectors=some_vectors()),
            Condition(None, given),
            Condition(torch.tensor([0, 99, 5]), given),
            Condition.nothing(3, WIDTH),
        ):
            assert torch.equal(pipe(condition, **call).images, nothing)
        shown = pipe(vectors=some_vectors(), guidance_scale=1.0, **call).images
        assert not torch.equal(shown, nothing)
    # Guidance of 0 in the diffusion baseline ignores what is asked for, and so does VAR's constant schedule.
    constant = {} if hasattr(both, "unet") else {"guidance_schedule": "constant"}
    ignored = both([1, 2, 3], vectors=some_vectors(), guidance_scale=0.0, **constant, **call).images
    torch.testing.assert_close(ignored, both(num_images=3, **call).images, atol=1e-5, rtol=1e-5)


BOTH = "the model takes class labels below 5 and vectors of width 6, got "
ALONE = "the model takes vectors of width 6 and no class labels, got "
LABELS = r"the model takes class labels below \d and no vectors, got vectors; pass class_labels"


def wrong(**changes):
    return {"class_labels": [1, 2, 3], "vectors": some_vectors(), **changes}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (wrong(vectors=None), BOTH + "no vectors; pass vectors too, or neither"),
        (wrong(class_labels="random", vectors=None), BOTH + "no vectors"),
        (wrong(class_labels=Condition.of(torch.tensor([1])), vectors=None), BOTH + "no vectors"),
        (wrong(class_labels=Condition.of(torch.tensor([1, 2, 3]))), "a condition holds its vectors"),
        (wrong(vectors=some_vectors(2)), r"all arguments must ask for the same .* class_labels for 3, vectors for 2"),
        (wrong(class_labels=1, num_images=2), "num_images for 2"),
        (
            wrong(vectors=some_vectors()[:, :5]),
            r"must be \(6,\), one for all .* or \(3, 6\), .* shape \(3, 5\)",
        ),
        (wrong(vectors=some_vectors()[0, :5]), r"got shape \(5,\)"),
        (wrong(vectors=some_vectors()[None]), r"got shape \(1, 3, 6\)"),
        (wrong(vectors=[]), r"got shape \(0,\)"),
        (wrong(vectors=[[1.0] * 6, [1.0] * 5, [1.0] * 6]), r"got list \("),
        (wrong(vectors="red"), r"got str \("),
        (wrong(vectors=some_vectors().numpy().astype(object)), r"got ndarray \("),
        (wrong(vectors=np.array(7.0)), r"got shape \(\)"),
        (wrong(vectors=some_vectors().bool()), "real numbers, got torch.bool"),
        (wrong(vectors=some_vectors().numpy() + 1j), "real numbers, got torch.complex"),
        (wrong(vectors=some_vectors().index_fill(1, torch.tensor(2), torch.nan)), "finite numbers"),
        (wrong(vectors=some_vectors().double() * 1e300), "finite numbers"),
        (wrong(vectors=some_vectors().index_fill(1, torch.tensor(0), -torch.inf).numpy()), "finite numbers"),
        ({"class_labels": None, "vectors": torch.zeros(0, 6)}, "at least one image, got vectors for 0"),
    ],
)
def test_vectors_that_do_not_fit(both, call, message):
    with refused(message):
        both(**call, **QUIET)


def test_every_model_says_what_it_takes(make, alone):
    with refused(LABELS):
        make()(vectors=some_vectors(), **QUIET)
    beside = LABELS.replace("pass class_labels", "leave them out")
    with refused(beside):
        make()([1, 2, 3], vectors=some_vectors(), **QUIET)
    with refused(beside):
        make()(Condition(torch.tensor([1]), torch.tensor([True]), vectors=some_vectors(1)), **QUIET)
    for labels in (1, "random", "cat", [0, 0, 0], Condition.of(torch.tensor([1, 2, 3]))):
        vectors = None if isinstance(labels, Condition) else some_vectors()
        remedy = "pass vectors" if vectors is None else "leave them out"
        with refused(ALONE + f"class labels; {remedy}"):
            alone(labels, vectors=vectors, **QUIET)
    with refused(ALONE + "no vectors"):
        alone(Condition(None, torch.tensor([True])), **QUIET)


def test_names_of_classes_that_there_are_not():
    for ask in (lambda: label_of("cat", 0, ()), lambda: resolve_labels("random", 1, 0, [1])):
        with refused("the model takes no class labels, got '+(?:cat|random)'+; leave them out"):
            ask()


def test_a_condition_is_completed_and_checked():
    def resolved(labels, vectors):
        condition = Condition(labels, torch.tensor([True, True]), vectors=vectors)
        return resolve_condition(condition, 2, 5, [], vector_width=6)

    found = resolved(torch.tensor([5, 1]), torch.zeros(2, 6))
    assert found.labels.tolist() == [5, 1]  # the null label beside a vector: the vector alone
    with refused(r"class labels must lie in \[0, 5\), got 6"):
        resolved(torch.tensor([6, 1]), torch.zeros(2, 6))
    with refused(r"got shape \(2, 4\)"):
        resolved(None, torch.zeros(2, 4))
    with refused("finite"):
        resolved(None, torch.full((2, 6), torch.nan))
    assert count_images(None, None, None, torch.zeros(3, 6)) == 3
    assert [count_vectors(each) for each in (None, [1.0], [[1.0]], np.zeros((2, 3)), "ab")] == [None, None, 1, 2, None]
    given = torch.zeros(2, 6)
    assert resolve_vectors(given, 2, 6).data_ptr() != given.data_ptr()


def test_a_saved_pipeline_makes_the_same_images(both, alone, tmp_path):
    for name, pipe, labels in (("both", both, [1, 2, 3]), ("alone", alone, None)):
        call = {"vectors": some_vectors(), "seeds": [0, 1, 2], "guidance_scale": 2.0, **QUIET}
        pipe.save_pretrained(tmp_path / name)
        again = type(pipe).from_pretrained(tmp_path / name)
        assert torch.equal(again(labels, **call).images, pipe(labels, **call).images)


@pytest.mark.parametrize("config", [transformer_config, unet_config])
def test_configs_without_anything_to_show(config):
    with pytest.raises(UserError, match="num_classes must be at least 1, got 0"):
        config(num_classes=0)
    with pytest.raises(UserError, match="vector_width must be at least 0, got -1"):
        config(vector_width=-1)
    with pytest.raises(UserError, match="vector_width must be at most"):
        config(vector_width=2**30)
    assert config(num_classes=0, vector_width=1).vector_width == 1
