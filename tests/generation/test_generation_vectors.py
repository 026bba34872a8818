"""The transformer and its engine on vectors: closed forms, the teacher-forced twin, what calls share and keep."""

import copy
from dataclasses import replace

import pytest
import torch
from teacher_forced import TeacherForced
from tiny import spread, tiny_pipeline, tiny_transformer

from var import VAR, VARPipeline
from var.conditions import Condition
from var.errors import UserError
from var.generation.draws import PerImageDraws
from var.generation.loop import generate
from var.generation.sampling_settings import SamplingSettings

WIDTH = 6
QUIET = {"output_type": "pt", "progress": False}


def some_vectors(count=3, seed=0):
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def pipe():
    """Of classes and vectors; no test may change it."""
    return tiny_pipeline(vector_width=WIDTH)


def test_weights_of_vectors_are_there_only_where_they_are_taken():
    names = set(tiny_transformer().state_dict())
    assert not any("vector" in name for name in names)
    more = set(tiny_transformer(vector_width=WIDTH).state_dict()) - names
    assert more == {f"class_embedding.vector.{name}" for name in ("linear.weight", "linear.bias", "null")}


def test_the_initial_weights_of_other_layers_do_not_depend_on_the_order_of_conditions():
    torch.manual_seed(0)
    model = tiny_transformer(vector_width=512, width=64, embedding_std=0.3)
    vector = model.class_embedding.vector
    assert vector.linear.weight.std().item() == pytest.approx(0.3 / 512**0.5, rel=0.02)
    assert not vector.linear.bias.any()
    assert not vector.null.any()


@torch.no_grad()
def test_one_hot_vectors_are_classes():
    """A model of vectors whose layer holds the embeddings of classes is the model of these classes."""
    torch.manual_seed(1)
    classes = spread(tiny_transformer())
    vectors = VAR(replace(classes.config, num_classes=0, vector_width=5))
    state, table = classes.state_dict(), classes.class_embedding.weight
    own = vectors.class_embedding.vector
    null = table[5:]
    own_state = {
        "class_embedding.weight": null,
        "class_embedding.vector.linear.weight": (table[:5] - null).T,
        "class_embedding.vector.linear.bias": own.linear.bias,
        "class_embedding.vector.null": own.null,
    }
    vectors.load_state_dict({**state, **own_state})
    labels, inputs = torch.tensor([3, 0, 4]), torch.randn(3, 13, 4)
    given = torch.tensor([True, True, False])
    hot = torch.nn.functional.one_hot(labels, 5).float()
    found = vectors(Condition(None, given, vectors=hot), inputs)
    torch.testing.assert_close(found, classes(Condition(labels, given), inputs))


@torch.no_grad()
def test_a_zero_layer_leaves_the_model_of_labels():
    torch.manual_seed(1)
    plain = spread(tiny_transformer())
    both = VAR(replace(plain.config, vector_width=WIDTH))
    own = {name: value for name, value in both.state_dict().items() if "vector" in name}
    both.load_state_dict({**plain.state_dict(), **{name: torch.zeros_like(value) for name, value in own.items()}})
    labels, inputs = torch.tensor([3, 0, 4]), torch.randn(3, 13, 4)
    shown = replace(Condition.of(labels), vectors=some_vectors())
    assert torch.equal(both(shown, inputs), plain(labels, inputs))
    assert torch.equal(both(shown.null(), inputs), plain(torch.full((3,), 5), inputs))


@torch.no_grad()
def test_embeddings_add_up_and_the_null_vector_stands_for_none(pipe):
    embedding = pipe.transformer.class_embedding
    labels, given, vectors = torch.tensor([1, 2]), torch.tensor([True, False]), some_vectors(2)
    found = embedding(Condition(labels, given, vectors=vectors))
    linear = embedding.vector.linear
    torch.testing.assert_close(found[0], embedding.weight[1] + linear.weight @ vectors[0] + linear.bias)
    torch.testing.assert_close(found[1], embedding.weight[5] + linear(embedding.vector.null))
    torch.testing.assert_close(
        embedding(Condition(None, given, vectors=vectors))[0], embedding.weight[5] + linear(vectors[0])
    )


@pytest.mark.parametrize(
    ("shown", "found"),
    [
        (torch.tensor([1, 2]), "of the width that the model takes, 6, got none"),
        (Condition(None, torch.ones(2, dtype=torch.bool), vectors=torch.zeros(2, 5)), "6, got 5"),
    ],
)
def test_the_model_refuses_other_vectors(pipe, shown, found):
    with pytest.raises(UserError, match=found):
        pipe.transformer(shown, torch.zeros(2, 13, 4))


def test_a_model_of_labels_refuses_vectors():
    with pytest.raises(UserError, match="that the model takes, none, got 6"):
        tiny_transformer()(replace(Condition.of(torch.tensor([1])), vectors=some_vectors(1)), torch.zeros(1, 13, 4))


@pytest.mark.parametrize("changes", [{}, {"shared_adaln": True}, {"num_classes": 0}], ids=["both", "shared", "alone"])
@pytest.mark.parametrize("guidance", [(1.0,) * 3, (1.5, 2.0, 3.0)])
def test_the_engine_is_the_teacher_forced_pass(changes, guidance):
    pipe = tiny_pipeline(vector_width=WIDTH, **changes)
    labels = None if changes.get("num_classes") == 0 else [1, 4, 2]
    sampling = SamplingSettings(guidance_scale=guidance, top_k=9)
    out = pipe(labels, vectors=some_vectors(), seeds=[0, 1, 2], sampling=sampling, **QUIET)
    given = torch.ones(3, dtype=torch.bool)
    twin = generate(
        TeacherForced(pipe.vqvae, pipe.transformer),
        Condition(None if labels is None else torch.tensor(labels), given, vectors=some_vectors()),
        guidance=guidance,
        sampling=sampling,
        draws=PerImageDraws([torch.Generator().manual_seed(seed) for seed in range(3)]),
    )
    assert all(torch.equal(a, b) for a, b in zip(out.tokens, twin.token_maps, strict=True))
    assert out.labels.tolist() == (labels or [0, 0, 0])


def test_the_log_likelihood_is_that_of_the_tokens_given_the_vectors(pipe):
    images = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(5)) * 2 - 1
    vectors = some_vectors()
    found = pipe.log_likelihood(images, [1, 2, 3], vectors=vectors)
    with torch.no_grad():
        token_maps = pipe.vqvae.encode(images)
        shown = replace(Condition.of(torch.tensor([1, 2, 3])), vectors=vectors)
        logits = pipe.transformer(shown, pipe.vqvae.teacher_inputs(token_maps)).log_softmax(-1)
    tokens = pipe.transformer.scales.flatten(token_maps)
    torch.testing.assert_close(found, logits.gather(2, tokens[..., None]).sum((1, 2)))
    assert not torch.equal(found, pipe.log_likelihood(images, [1, 2, 3], vectors=vectors.flip(0)))
    assert pipe.log_likelihood(images).isfinite().all()
    with pytest.raises(UserError, match="got no vectors"):
        pipe.log_likelihood(images, [1, 2, 3])


def test_written_weights_of_the_layer_count_and_copies_are_alike():
    pipe = tiny_pipeline(vector_width=WIDTH).compile()
    call = {"vectors": some_vectors(2), "seeds": [0, 1], "guidance_scale": 2.0, **QUIET}
    before = pipe([1, 2], **call).images
    twin = copy.deepcopy(pipe)
    assert torch.equal(twin([1, 2], **call).images, before)
    for parameter in pipe.transformer.class_embedding.vector.parameters():
        parameter.data.add_(0.5)
    after = pipe([1, 2], **call).images
    assert not torch.equal(after, before)
    fresh = VARPipeline(copy.deepcopy(pipe.vqvae), copy.deepcopy(pipe.transformer))
    torch.testing.assert_close(fresh([1, 2], **call).images, after)
    assert torch.equal(twin([1, 2], **call).images, before)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_vectors_take_the_type_of_the_weights(dtype):
    pipe = tiny_pipeline(vector_width=WIDTH).to(dtype)
    assert pipe([1, 2], vectors=some_vectors(2), **QUIET).images.isfinite().all()
