"""A few words as a second label: their vectors, what adds up, and both pipelines asked for a class and a word."""

import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_pipeline
from tiny_models import one_line

from var.conditions import ClassEmbedding, Condition
from var.text import open_encoder

STYLES = "words:openmoji,noto"


def test_words_are_at_right_angles_and_as_long_as_vectors_of_other_encoders():
    encoder = open_encoder("words:by day, by  night,dusk")
    vectors = encoder(["by night", "dusk", "by day", "by\tnight"]).vectors
    assert encoder.name == "words:by day,by night,dusk"
    assert (encoder.width, encoder.sequence_width, vectors.dtype) == (3, 0, torch.float32)
    torch.testing.assert_close(vectors[:3] @ vectors[:3].T, 3 * torch.eye(3))
    assert torch.equal(vectors[3], vectors[0])
    assert encoder.digest == open_encoder(encoder.name).digest != open_encoder("words:dusk,by day,by night").digest


def test_class_and_word_add_up():
    """The step from one word to another is the same in every class, seen together or not."""
    embedding, vectors = ClassEmbedding(3, 8, vector_width=2), open_encoder(STYLES)(["openmoji", "noto"]).vectors
    shown = [Condition(torch.arange(3), torch.ones(3, dtype=torch.bool), vectors=row.expand(3, 2)) for row in vectors]
    step = embedding(shown[1]) - embedding(shown[0])
    torch.testing.assert_close(step, step[:1].expand(3, 8))
    assert step.abs().max() > 0.1


@pytest.mark.parametrize("make", [tiny_pipeline, lambda **changes: tiny_diffusion_pipeline(timesteps=3, **changes)])
def test_both_pipelines_show_a_class_in_a_style(make, tmp_path):
    pipe = make(vector_width=2)
    pipe.text_encoder = open_encoder(STYLES)
    call = {"seeds": [0, 1], "guidance_scale": 2.0, "output_type": "pt", "progress": False}
    images = pipe(1, prompt="noto", **call).images
    assert torch.equal(images, pipe(1, vectors=[0, 2**0.5], **call).images)
    assert not torch.equal(images, pipe(1, prompt="openmoji", **call).images)
    pipe.save_pretrained(tmp_path / "saved")
    assert torch.equal(type(pipe).from_pretrained(tmp_path / "saved")(1, prompt="noto", **call).images, images)
    with one_line("unknown word of the second label 'notto'; did you mean 'noto'?"):
        pipe(1, prompt="notto", **call)
    with one_line(".*the one of the training, 'words:openmoji,noto' of digest .*"):
        pipe.text_encoder = open_encoder("words:noto,openmoji")


@pytest.mark.parametrize("name", ["words:", "words:a", "words:a,a", "words:a,,b", "words:a, a"])
def test_names_without_a_choice_of_words(name):
    with one_line(f"the words of a label are two or more different ones, got '{name}'; write words:a,b"):
        open_encoder(name)
