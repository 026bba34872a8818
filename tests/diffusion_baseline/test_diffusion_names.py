"""Classes by name, as in the VAR pipeline."""

import pytest
from tiny import tiny_unet

from diffusion_baseline import DiffusionPipeline
from var.errors import UserError


@pytest.fixture(scope="module")
def unet():
    return tiny_unet(image_size=(4, 4), multipliers=(1,))


def labels(pipe, *arguments, **settings):
    return pipe(*arguments, num_inference_steps=1, output_type="pt", progress=False, **settings).labels.tolist()


def test_a_name_means_its_label(unet):
    pipe = DiffusionPipeline(unet, class_names=["tabby, tabby cat", "dog", "Red fox"])
    assert labels(pipe, ["dog", 0, "red_fox", "tabby cat"]) == [1, 0, 2, 0]
    assert labels(pipe, "dog", 2) == [1, 1]
    assert pipe.label_of("TABBY") == 0
    with pytest.raises(UserError, match="known classes, got 'dig'; did you mean 'dog'"):
        labels(pipe, ["dig"])


def test_a_class_may_be_called_random(unet):
    pipe = DiffusionPipeline(unet, class_names=["flat", "Random", "noise"])
    assert labels(pipe, "random", 5) == [1] * 5


def test_without_names_classes_are_called_by_their_numbers(unet):
    pipe = DiffusionPipeline(unet)
    assert pipe.class_names == ("0", "1", "2")
    assert labels(pipe, ["2", 1]) == [2, 1]
    with pytest.raises(UserError, match="got 3"):
        pipe.label_of("3")
