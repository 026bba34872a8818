"""Prompts in calls of both pipelines: twins of vectors, what is refused, and which encoder reads them."""

import copy
import json

import numpy as np
import pytest
import torch
from tiny import tiny_diffusion_pipeline, tiny_pipeline
from tiny_models import one_line
from tiny_text import LetterEncoder, save_text_model

from var.conditions import Condition
from var.text import TextFeatures, open_encoder

WIDTH = 6
MAKERS = {"var": tiny_pipeline, "diffusion": lambda **changes: tiny_diffusion_pipeline(timesteps=3, **changes)}
QUIET = {"output_type": "pt", "progress": False}
TEXTS = ["a big cab", "a  jade\nbead", "face"]


def refused(message):
    return one_line(f".*(?:{message})")


def with_encoder(pipe, encoder=None):
    pipe.text_encoder = encoder or LetterEncoder(WIDTH)
    return pipe


@pytest.fixture(scope="module", params=MAKERS)
def make(request):
    return MAKERS[request.param]


@pytest.fixture(scope="module")
def both(make):
    """A pipeline of classes and texts; no test may change it."""
    return with_encoder(make(vector_width=WIDTH))


@pytest.fixture(scope="module")
def alone(make):
    """A pipeline of texts alone."""
    return with_encoder(make(vector_width=WIDTH, num_classes=0))


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_a_prompt_is_the_vector_of_its_text(both, alone, scale):
    call = {"seeds": [0, 1, 2], "guidance_scale": scale, **QUIET}
    vectors = LetterEncoder(WIDTH)(TEXTS).vectors
    for pipe, labels in ((both, [1, 2, 3]), (both, None), (alone, None)):
        for prompt in (TEXTS, tuple(TEXTS), np.array(TEXTS)):
            assert torch.equal(pipe(labels, prompt=prompt, **call).images, pipe(labels, vectors=vectors, **call).images)
        one = pipe(labels, prompt=TEXTS[1], **call).images
        assert torch.equal(one, pipe(labels, vectors=vectors[1], **call).images)


def test_edits_take_prompts_as_calls_do(both):
    given = both(num_images=len(TEXTS), **QUIET).images
    masks = torch.zeros(len(TEXTS), *given.shape[-2:], dtype=torch.bool)
    masks[:, :, :3] = True
    how = {"num_inference_steps": 2} if hasattr(both, "unet") else {}
    for edit, arguments in ((both.edit, (given, masks)), (both.variations, (given,))):
        call = {"seeds": [0, 1, 2], **how, **QUIET}
        if edit == both.variations:
            call |= {"strength": 0.5} if hasattr(both, "unet") else {"keep_scales": 1}
        by_prompt = edit(*arguments, prompt=TEXTS, **call).images
        assert torch.equal(by_prompt, edit(*arguments, vectors=LetterEncoder(WIDTH)(TEXTS).vectors, **call).images)
        assert not torch.equal(by_prompt, edit(*arguments, **call).images)


def test_a_search_is_shown_the_prompts():
    pipe, asked = with_encoder(tiny_pipeline(vector_width=WIDTH, num_classes=0)), []

    def judge(images, prompts):
        asked.extend(prompts)
        return torch.zeros(len(images))

    pipe(prompt=TEXTS, seeds=[0, 1, 2], candidates=2, verifier=judge, **QUIET)
    assert asked == [text for text in TEXTS for _ in range(2)]


def test_what_the_encoder_gives_is_taken_as_vectors(both):
    features = both.text_encoder(TEXTS)
    images = both([1, 2, 3], vectors=features, seeds=[0, 1, 2], **QUIET).images
    assert torch.equal(images, both([1, 2, 3], prompt=TEXTS, seeds=[0, 1, 2], **QUIET).images)
    assert len(both(vectors=features, **QUIET).images) == len(TEXTS)


def test_prompts_say_how_many_images(alone):
    assert len(alone(prompt="a cab", **QUIET).images) == 1
    assert len(alone(prompt=TEXTS, **QUIET).images) == 3
    assert len(alone(prompt="a cab", num_images=4, **QUIET).images) == 4
    assert len(alone(prompt=["a cab"], **QUIET).images) == 1


def test_a_text_is_read_once(alone):
    alone.text_encoder.asked.clear()
    alone(prompt=["a cab", "face", "a cab"], **QUIET)
    alone(prompt="a cab", num_images=5, **QUIET)
    assert alone.text_encoder.asked == ["a cab", "face", "a cab"]


BOTH = "the model takes class labels below 5 and prompts, or vectors of width 6 that the text encoder 'letters' makes"
ALONE = "the model takes prompts, or vectors of width 6 that the text encoder 'letters' makes, and no class labels"
LONG = "a" * 4097


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"class_labels": [1]}, f"{BOTH}, got no prompt; pass prompt too, or neither"),
        ({"prompt": "a", "vectors": torch.zeros(6)}, "got vectors beside it; pass one of them"),
        ({"class_labels": Condition.of(torch.tensor([1])), "prompt": "a"}, "got a prompt beside it; pass one of them"),
        ({"prompt": ["a", "b"], "seeds": [1, 2, 3]}, "got prompt for 2, seeds for 3; give 2 seeds, or none"),
        ({"prompt": ["a"], "seeds": [1, 2]}, "got prompt for 1, seeds for 2; give 1 seed, or none"),
        ({"class_labels": [1, 2], "prompt": ["a"]}, "got class_labels for 2, prompt for 1; drop one of them"),
        ({"prompt": []}, "at least one image, got prompt for 0"),
        ({"prompt": ""}, r"prompt\[0\]: a text must have 1 to 4096 characters, got an empty one; write one"),
        ({"prompt": ["a", " \n"]}, r"prompt\[1\]: .*got an empty one"),
        ({"prompt": ["a", LONG]}, r"prompt\[1\]: .*got 4097 characters; shorten it"),
        ({"prompt": "a\0"}, r"got the character U\+0000"),
        ({"prompt": ["a", 3]}, r"prompt\[1\]: .*got 3; write a text"),
        ({"prompt": [["a"], ["b"]]}, r"prompt\[0\]: .*got \['a'\]"),
        ({"prompt": ["a", ["b"]]}, r"prompt\[1\]: .*got \['b'\]; write a text"),
        ({"prompt": np.array(["a", ""])}, r"prompt\[1\]: .*got an empty one"),
        ({"prompt": b"a"}, "prompt must be a list of texts"),
    ],
)
def test_prompts_that_do_not_fit(both, call, message):
    with refused(message):
        both(**call, **QUIET)


def test_every_model_says_what_it_takes(make, alone):
    with refused("the model takes class labels below 5 and no vectors, got a prompt; pass class_labels"):
        make()(prompt="a", **QUIET)
    with refused(f"{ALONE}, got class labels; pass prompt"):
        alone(2, **QUIET)
    with refused(f"{ALONE}, got class labels; leave them out"):
        alone(2, prompt="a", **QUIET)
    with refused("the model takes class labels below 5 and no vectors, got a prompt; leave it out"):
        make()(2, prompt="a", **QUIET)
    with refused("and vectors of width 6, got a prompt; pass vectors, or set text_encoder to what made those of"):
        make(vector_width=WIDTH)(prompt="a", **QUIET)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda vectors: TextFeatures(vectors.repeat(2, 1)), "6 rows"),
        (lambda vectors: TextFeatures(vectors[:1]), "1 rows"),
        (lambda vectors: vectors, "Tensor"),
    ],
)
def test_an_encoder_must_give_a_row_for_each_text(change, found):
    class Other(LetterEncoder):
        def __call__(self, texts, **options):
            return change(super().__call__(texts).vectors)

    with refused(f"must give TextFeatures with a row for each of 3 texts, got {found} of 'letters'; correct it"):
        with_encoder(tiny_pipeline(vector_width=WIDTH), Other(WIDTH))(prompt=TEXTS, **QUIET)


def test_a_likelihood_given_a_text():
    pipe = with_encoder(tiny_pipeline(vector_width=WIDTH, num_classes=0))
    images = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(5)) * 2 - 1
    vectors = LetterEncoder(WIDTH)(TEXTS).vectors
    found = pipe.log_likelihood(images, prompt=TEXTS)
    assert torch.equal(found, pipe.log_likelihood(images, vectors=vectors))
    with refused("expected one prompt or one for each of 3 images, got 2"):
        pipe.log_likelihood(images, prompt=TEXTS[:2])


def test_another_encoder_is_refused(both, make, tmp_path):
    for other in (LetterEncoder(WIDTH, name="others"), LetterEncoder(5)):
        with refused(f"must be the one of the training, 'letters' of digest .*, got '{other.name}' of {other.digest}"):
            both.text_encoder = other
    both.text_encoder = LetterEncoder(WIDTH)  # an equal one is the same
    for wrong in (3, "minilm", lambda texts: texts):
        with refused("a text encoder must have name, digest"):
            both.text_encoder = wrong
    assert make().text_encoder is None
    with refused("the model takes no texts, got a text encoder"):
        make().text_encoder = LetterEncoder(WIDTH)


def test_a_saved_pipeline_reads_by_the_same_encoder_only(make, tmp_path):
    """It is opened when it is needed, and compared then."""
    folder = save_text_model(tmp_path / "text", "clip")
    pipe = with_encoder(make(vector_width=WIDTH, num_classes=0), open_encoder(f"hf:{folder}"))
    call = {"prompt": ["a red circle", "blue ground"], "seeds": [0, 1], **QUIET}
    images = pipe(**call).images
    pipe.save_pretrained(tmp_path / "pipe")
    told = json.loads((tmp_path / "pipe" / "pipeline_index.json").read_text())["settings"]["text_encoder"]
    assert told == {"name": f"hf:{folder}", "digest": pipe.text_encoder.digest}
    load = type(pipe).from_pretrained
    again = load(tmp_path / "pipe")
    assert torch.equal(again(**call).images, images)
    assert torch.equal(copy.deepcopy(again)(**call).images, images)
    again.save_pretrained(tmp_path / "again")
    index = "pipeline_index.json"
    assert (tmp_path / "again" / index).read_bytes() == (tmp_path / "pipe" / index).read_bytes()
    save_text_model(folder, "clip", seed=1)
    with refused("need its text encoder, but: the text encoder must be the one of the training"):
        load(tmp_path / "pipe")(**call)
    (folder / "model.safetensors").unlink()
    with refused("need its text encoder, but: .*holds no model.safetensors"):
        load(tmp_path / "pipe")(**call)
    fine = load(tmp_path / "pipe")
    vectors = pipe.text_encoder(call["prompt"]).vectors
    assert torch.equal(fine(vectors=vectors, seeds=[0, 1], **QUIET).images, images)


def test_an_index_that_names_no_encoder(make, tmp_path):
    pipe = make(vector_width=WIDTH, num_classes=0)
    pipe.save_pretrained(tmp_path)
    path = tmp_path / "pipeline_index.json"
    index = json.loads(path.read_text())
    assert "text_encoder" not in index["settings"]  # as before
    for wrong in (3, "minilm", [], {"name": "minilm"}, {"name": 1, "digest": "x"}):
        index["settings"]["text_encoder"] = wrong
        path.write_text(json.dumps(index))
        with refused("a text encoder must have|text_encoder must have a name and a digest"):
            type(pipe).from_pretrained(tmp_path)
