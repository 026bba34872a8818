"""`device_map`: the field's other words for where a model is put."""

import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_pipeline
from tiny_models import one_line

from diffusion_baseline import DiffusionPipeline
from var import VARPipeline

BEST = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture(scope="module", params=["var", "diffusion"])
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    pipeline, cls = (
        (tiny_pipeline(), VARPipeline) if request.param == "var" else (tiny_diffusion_pipeline(), DiffusionPipeline)
    )
    pipeline.save_pretrained(folder)
    return cls, folder


@pytest.mark.parametrize(("word", "place"), [("auto", BEST), ("cpu", "cpu"), (None, "cpu")])
def test_the_words_are_places(saved, word, place):
    cls, folder = saved
    assert cls.from_pretrained(folder, device_map=word).device.type == place


def test_a_place_said_twice_is_fine_and_another_one_is_not(saved):
    cls, folder = saved
    assert cls.from_pretrained(folder, device_map="cpu", device="cpu").device.type == "cpu"
    with one_line("device_map='cpu' is another way to say device='cpu', got meta; pass one"):
        cls.from_pretrained(folder, device_map="cpu", device="meta")


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("atuo", "unknown device_map 'atuo'; did you mean 'auto'"),
        ("balanced", "unknown device_map 'balanced'; choose one of 'auto', 'cpu', 'cuda'"),
        ({"": 0}, "device_map must be a text"),
    ],
)
def test_other_words_are_refused(saved, word, message):
    cls, folder = saved
    with one_line(message):
        cls.from_pretrained(folder, device_map=word)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_is_refused(saved):
    cls, folder = saved
    with one_line("device 'cuda' cannot be used here"):
        cls.from_pretrained(folder, device_map="cuda")
