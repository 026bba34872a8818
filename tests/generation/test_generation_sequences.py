"""Attention to the features of a text, in both paradigms: the teacher-forced twin, padding, order, null, first step."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from teacher_forced import TeacherForced
from tiny import spread, tiny_diffusion_pipeline, tiny_pipeline, tiny_transformer, tiny_unet
from tiny_models import one_line
from tiny_text import LetterEncoder

from var.conditions import KEYS, Condition, SequenceEmbedding
from var.errors import UserError
from var.generation.draws import PerImageDraws
from var.generation.loop import generate
from var.generation.sampling_settings import SamplingSettings
from var.sampling.vectors import resolve_sequence

WIDTH, LENGTH = 6, 5
QUIET = {"output_type": "pt", "progress": False}
ATTENDING = {"attention_levels": (1,), "head_width": 8, "num_classes": 5}


def some_condition(count=3, length=LENGTH, seed=0, **parts):
    """A text alone of each image, as long as its place says at least."""
    sequence = torch.randn(count, length, WIDTH, generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(length) <= torch.arange(count)[:, None]
    return Condition(None, torch.ones(count, dtype=torch.bool), sequence=sequence, sequence_mask=mask, **parts)


def transformer(**changes):
    torch.manual_seed(1)
    model = spread(tiny_transformer(sequence_width=WIDTH, **changes)).eval()
    inputs = torch.randn(3, 13, 4)
    return model, lambda shown: model(shown, inputs[: len(shown)])


def unet(**changes):
    torch.manual_seed(1)
    model = spread(tiny_unet(sequence_width=WIDTH, **ATTENDING | changes)).eval()
    images, timesteps = torch.randn(3, 1, 4, 8), torch.tensor([0, 5, 9])
    return model, lambda shown: model(images[: len(shown)], timesteps[: len(shown)], shown)


MODELS = {"transformer": transformer, "unet": unet}


@pytest.fixture(scope="module", params=MODELS)
def make(request):
    return MODELS[request.param]


@torch.no_grad()
def test_padding_order_and_what_is_hidden_change_nothing(make):
    _, predict = make()
    shown = some_condition()
    found = predict(shown)
    sequence, mask = shown.sequence, shown.sequence_mask
    longer = torch.cat((sequence, 9 * torch.ones(3, KEYS + 3, WIDTH)), dim=1)
    padded = replace(shown, sequence=longer, sequence_mask=torch.nn.functional.pad(mask, (0, KEYS + 3)))
    order = torch.randperm(LENGTH)
    moved = replace(shown, sequence=sequence[:, order], sequence_mask=mask[:, order])
    hidden = replace(shown, sequence=sequence.where(mask[..., None], -7.0))
    for same in (padded, moved, hidden):
        torch.testing.assert_close(predict(same), found, atol=1e-5, rtol=1e-5)
    for other in (replace(shown, sequence_mask=None), replace(shown, sequence=sequence.flip(0))):
        assert not torch.allclose(predict(other), found, atol=1e-3)


@torch.no_grad()
def test_where_nothing_is_given_the_learned_feature_stands_alone(make):
    model, predict = make()
    shown = some_condition()
    given = torch.tensor([True, False, True])
    found = predict(replace(shown, given=given))
    torch.testing.assert_close(found[given], predict(shown)[given], atol=1e-5, rtol=1e-5)
    nothing = predict(Condition.nothing(3, 0, WIDTH))
    torch.testing.assert_close(found[1], nothing[1], atol=1e-5, rtol=1e-5)
    assert torch.equal(predict(shown.null()), predict(some_condition(seed=9).null()))
    empty = replace(shown, sequence_mask=torch.zeros_like(shown.sequence_mask))
    torch.testing.assert_close(predict(empty), nothing, atol=1e-5, rtol=1e-5)
    embedding = getattr(model, "class_embedding", None) or model.label
    embedding.sequence.null.add_(1 + torch.arange(WIDTH))
    assert not torch.allclose(predict(shown.null()), nothing, atol=1e-3)


@pytest.mark.parametrize("given", [True, False])
def test_every_weight_gets_a_gradient_whatever_is_given(make, given):
    model, predict = make()
    shown = some_condition()
    predict(replace(shown, given=torch.full((3,), given))).square().sum().backward()
    own = {name: weight.grad for name, weight in model.named_parameters() if "cross" in name or "sequence" in name}
    assert len(own) >= 7
    assert all(gradient is not None for gradient in own.values())
    # Of one key alone the weight is 1, whatever queries and keys are.
    assert all(bool(grad.any()) for name, grad in own.items() if given or not ("query" in name or "norm" in name))


@torch.no_grad()
def test_a_new_layer_adds_nothing():
    torch.manual_seed(0)
    for plain, model, more in (
        (tiny_transformer(), tiny_transformer(sequence_width=WIDTH), 1 + 2 * 6),
        (tiny_unet(**ATTENDING), tiny_unet(sequence_width=WIDTH, **ATTENDING), 1 + 4 * 8),
    ):
        own = model.state_dict()
        assert len(own) - len(plain.state_dict()) == more
        model.load_state_dict({**own, **plain.state_dict()})
        shown = replace(some_condition(), labels=torch.tensor([1, 4, 2]))
        labels = Condition.of(shown.labels)
        first = (torch.randn(3, 13, 4),) if hasattr(model, "blocks") else (torch.randn(3, 1, 4, 8), torch.arange(3))
        if hasattr(model, "blocks"):
            assert torch.equal(model(shown, *first), plain(labels, *first))
        else:
            model.head.weight.normal_()
            plain.head.load_state_dict(model.head.state_dict())
            assert torch.equal(model(*first, shown), plain(*first, labels))


def test_attention_is_that_of_the_definition():
    """One head, written out: softmax of q k / sqrt(width) over the learned feature and the two that are seen."""
    torch.manual_seed(3)
    block = spread(tiny_transformer(sequence_width=WIDTH, heads=1)).blocks[0].cross
    x, shown = torch.randn(1, 2, 16), some_condition(1, 2)
    embedding = SequenceEmbedding(WIDTH)
    text = embedding(shown.sequence, None, shown.given)
    assert text.features.shape == (1, KEYS, WIDTH)
    features = torch.cat((embedding.null[None], torch.nn.functional.layer_norm(shown.sequence[0], (WIDTH,))))
    k, v = block.key_value(features).chunk(2, dim=1)
    q = block.query(torch.nn.functional.layer_norm(x[0], (16,), eps=1e-6))
    expected = block.projection((q @ k.T / 4).softmax(dim=1) @ v)
    torch.testing.assert_close(block(x, block.keys_values(text))[0], expected)


@pytest.mark.parametrize(
    "changes",
    [{}, {"shared_adaln": True, "vector_width": 4}, {"num_classes": 0, "l2_attention": False}],
    ids=["both", "vectors too", "alone"],
)
@pytest.mark.parametrize("guidance", [(1.0,) * 3, (1.5, 2.0, 3.0)])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "packed"])
def test_the_engine_is_the_teacher_forced_pass(changes, guidance, compiled):
    pipe = tiny_pipeline(sequence_width=WIDTH, **changes)
    pipe = pipe.compile() if compiled else pipe
    shown = some_condition(vectors=torch.randn(3, 4) if "vector_width" in changes else None)
    if changes.get("num_classes") != 0:
        shown = replace(shown, labels=torch.tensor([1, 4, 2]))
    sampling = SamplingSettings(guidance_scale=guidance, top_k=9)
    out = pipe(shown, seeds=[0, 1, 2], sampling=sampling, **QUIET)
    twin = generate(
        TeacherForced(pipe.vqvae, pipe.transformer),
        shown,
        guidance=guidance,
        sampling=sampling,
        draws=PerImageDraws([torch.Generator().manual_seed(seed) for seed in range(3)]),
    )
    assert all(torch.equal(a, b) for a, b in zip(out.tokens, twin.token_maps, strict=True))


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_logits_of_the_engine(dtype):
    pipe = tiny_pipeline(sequence_width=WIDTH).to(dtype)
    engine = pipe._prepare().engine
    shown = replace(some_condition(), labels=torch.tensor([1, 4, 2]))
    slow, fast = (each.begin(shown, guide=True) for each in (TeacherForced(pipe.vqvae, pipe.transformer), engine))
    tolerance = 1e-4 if dtype == torch.float32 else 0.2
    expected = slow.logits(0, None, 2.0).float()
    torch.testing.assert_close(fast.logits(0, None, 2.0), expected, atol=tolerance, rtol=tolerance)


def test_a_pass_that_is_kept_takes_texts_of_as_many_keys():
    """Recorded kernels read what lies at their addresses."""
    pipe, other = tiny_pipeline(sequence_width=WIDTH), tiny_pipeline(sequence_width=WIDTH)
    engine = pipe._prepare().engine
    engine.graphs = True
    for length, same in ((LENGTH, None), (LENGTH + 1, True), (KEYS, False), (2, False)):
        before = engine.kept
        shown = some_condition(length=length)
        found = pipe(shown, seeds=[0, 1, 2], **QUIET).images
        assert same is None or (engine.kept is before) == same
        assert torch.equal(found, other(shown, seeds=[0, 1, 2], **QUIET).images)


def test_written_weights_count_and_added_modules_are_refused():
    pipe = tiny_pipeline(sequence_width=WIDTH)
    call = {"seeds": [0, 1, 2], "guidance_scale": 2.0, **QUIET}
    before = pipe(some_condition(), **call).images
    twin = copy.deepcopy(pipe)
    cross = pipe.transformer.blocks[1].cross
    for layer in (cross.query, cross.key_value, cross.projection):
        layer.weight.data.mul_(-3)
        after = pipe(some_condition(), **call).images
        assert not torch.equal(after, before)
        before = after
    assert not torch.equal(twin(some_condition(), **call).images, after)
    cross.query.register_forward_hook(lambda *_: None)
    with pytest.raises(UserError, match=r"forward_hooks of its own as blocks\.1\.cross\.query"):
        pipe(some_condition(), **call)


PIPELINES = {"var": tiny_pipeline, "diffusion": lambda **changes: tiny_diffusion_pipeline(timesteps=3, **changes)}


@pytest.fixture(scope="module", params=PIPELINES)
def pipes(request):
    """One that attends to texts and one that does not; no test may change them."""
    attending = {"attention_levels": (1,), "head_width": 8} if request.param == "diffusion" else {}
    return [PIPELINES[request.param](sequence_width=width, **attending) for width in (WIDTH, 0)]


def test_an_image_is_that_of_its_own_text(pipes, tmp_path):
    pipe, shown = pipes[0], some_condition()
    call = {"guidance_scale": 2.0, **QUIET}
    together = pipe(shown, seeds=[0, 1, 2], **call).images
    for place in (0, 2):
        own = some_condition()[place : place + 1]
        own = replace(own, sequence=own.sequence[:, : place + 1].double(), sequence_mask=None)
        torch.testing.assert_close(pipe(own, seeds=[place], **call).images[0], together[place], atol=1e-4, rtol=1e-4)
    pipe.save_pretrained(tmp_path)
    again = type(pipe).from_pretrained(tmp_path)
    assert torch.equal(again(shown, seeds=[0, 1, 2], **call).images, together)
    nothing = pipe(num_images=3, seeds=[0, 1, 2], **QUIET).images
    assert torch.equal(pipe(shown.null(), seeds=[0, 1, 2], **QUIET).images, nothing)
    assert not torch.equal(nothing, together)


@pytest.mark.parametrize(
    ("sequence", "mask", "message"),
    [
        (torch.zeros(3, 2, 5), None, r"must be floats \(3, length, 6\), .* got torch.float32 \(3, 2, 5\)"),
        (torch.zeros(2, 5, 6), None, r"got torch.float32 \(2, 5, 6\)"),
        (torch.zeros(3, 6), None, r"got torch.float32 \(3, 6\)"),
        (torch.tensor(0.0), None, r"got torch.float32 \(\)"),
        (torch.zeros(3, 5, 6, dtype=torch.long), None, "got torch.int64"),
        ("red", None, "got str"),
        (torch.full((3, 5, 6), torch.nan), None, "a sequence must be finite numbers"),
        (np.zeros((3, 5, 6)), torch.ones(3, 4, dtype=torch.bool), r"bools \(3, 5\), .* got torch.bool \(3, 4\)"),
        (torch.zeros(3, 5, 6), np.ones((3, 5)), r"got torch.float64 \(3, 5\)"),
        (torch.zeros(3, 5, 6), "all", "got str"),
    ],
)
def test_sequences_that_do_not_fit(sequence, mask, message):
    with one_line(f".*(?:{message})"):
        resolve_sequence(sequence, mask, 3, WIDTH)


@pytest.mark.parametrize("vector_width", [0, 6])
def test_a_prompt_is_the_sequence_of_its_text(pipes, vector_width):
    pipe = copy.deepcopy(pipes[0])
    if vector_width:
        pipe = PIPELINES["var"](sequence_width=WIDTH, vector_width=WIDTH)
    encoder = pipe.text_encoder = LetterEncoder(WIDTH)
    texts = ["a big cab", "jade bead", "a big cab"]
    call = {"seeds": [0, 1, 2], "guidance_scale": 2.0, **QUIET}
    read = encoder(texts, sequences=True)
    shown = Condition(None, torch.ones(3, dtype=torch.bool), vectors=read.vectors if vector_width else None)
    shown = replace(shown, sequence=read.sequence, sequence_mask=read.mask)
    images = pipe(prompt=texts, **call).images
    assert torch.equal(images, pipe(shown, **call).images)
    # The null label says the same, beside rows that have a class.
    assert torch.equal(images, pipe(replace(shown, labels=torch.full((3,), 5)), **call).images)
    assert not torch.equal(images, pipe(prompt=texts[::-1][1:] + texts[:1], **call).images)
    with one_line(".*takes a sequence of width 6, got none; pass a prompt"):
        pipe([1, 2, 3], vectors=read.vectors if vector_width else None, **call)


def test_what_takes_no_sequence_says_so(pipes):
    with pytest.raises(UserError, match="takes no sequence, got one"):
        pipes[1](replace(some_condition(), labels=torch.tensor([1, 2, 3])), **QUIET)
    with pytest.raises(UserError, match="the model takes a sequence of width 6, got none"):
        pipes[0]([1, 2, 3], **QUIET)


def test_models_refuse_other_sequences(make):
    _, predict = make()
    with pytest.raises(UserError, match="a sequence of the width that the model takes, 6, got none"):
        predict(torch.tensor([1, 2, 3]))
    with pytest.raises(UserError, match="6, got 4"):
        predict(replace(some_condition(), sequence=torch.zeros(3, 5, 4)))


def test_a_network_without_attention_attends_to_nothing():
    with pytest.raises(UserError, match="texts are attended to at attention_levels, got none; name one"):
        tiny_unet(sequence_width=3)
