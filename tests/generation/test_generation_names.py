"""Classes by name, from the call to the saved pipeline."""

import pytest
import torch
from tiny import tiny_pipeline

from var import VARPipeline
from var.errors import UserError

NAMES = ["cat, house cat", "dog", "red fox, Vulpes vulpes", "crane", "crane"]


@pytest.fixture(scope="module")
def named():
    parts = tiny_pipeline()
    return VARPipeline(parts.vqvae, parts.transformer, class_names=NAMES)


def run(pipe, class_labels, **settings):
    return pipe(class_labels, output_type="pt", progress=False, **settings)


def test_a_name_means_its_label(named):
    by_name = run(named, ["dog", 4, "Red_Fox", "house-cat", "2"], seeds=[1, 2, 3, 4, 5])
    by_label = run(named, [1, 4, 2, 0, 2], seeds=[1, 2, 3, 4, 5])
    assert torch.equal(by_name.images, by_label.images)
    assert by_name.labels.tolist() == [1, 4, 2, 0, 2]
    assert run(named, "vulpes vulpes", num_images=2).labels.tolist() == [2, 2]
    assert named.label_of("dog") == 1


def test_likelihoods_of_named_classes(named):
    images = torch.zeros(2, 1, 6, 6)
    assert torch.equal(named.log_likelihood(images, ["dog", "cat"]), named.log_likelihood(images, [1, 0]))
    assert torch.equal(named.log_likelihood(images, "dog"), named.log_likelihood(images, 1))
    with pytest.raises(UserError, match="a likelihood is that of given labels, got class_labels='random'"):
        named.log_likelihood(images, "random")


def test_names_survive_saving(named, tmp_path):
    named.save_pretrained(tmp_path)
    assert VARPipeline.from_pretrained(tmp_path).class_names == tuple(NAMES)


def test_a_pipeline_without_names_saves_none(pipe, tmp_path):
    assert pipe.class_names is None
    pipe.save_pretrained(tmp_path)
    assert VARPipeline.from_pretrained(tmp_path).class_names is None
    with pytest.raises(UserError, match="None or 'random', got 'dog'; pass a number, as no class has a name"):
        pipe.label_of("dog")


@pytest.mark.parametrize(
    ("class_labels", "message"),
    [
        ("dgo", "known classes, got 'dgo'; did you mean 'dog'"),
        (["dog", "house cta"], "got 'house cta'; did you mean 'house cat'"),
        ("crane", r"got 'crane', which is 3 \(crane\), 4 \(crane\); pass the number"),
        ("5", r"must lie in \[0, 5\), got 5"),
        (["dog", 5], r"must lie in \[0, 5\), got 5"),
    ],
)
def test_names_that_mean_nothing_are_refused(named, class_labels, message):
    with pytest.raises(UserError, match=message) as caught:
        run(named, class_labels)
    assert "\n" not in str(caught.value)


def test_names_of_another_number_of_classes_are_refused(pipe):
    with pytest.raises(UserError, match="must name 5 classes, got 2; give one per class"):
        VARPipeline(pipe.vqvae, pipe.transformer, class_names=["cat", "dog"])
