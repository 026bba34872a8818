"""The loop over scales against teacher forcing: one pass with a mask and a cache scale by scale are the same model."""

import pytest
import torch
import torch.nn.functional as F
from teacher_forced import TeacherForced
from tiny import tiny_pipeline

from var.conditions import Condition
from var.generation.draws import PerImageDraws
from var.generation.engine import Engine
from var.generation.loop import generate
from var.generation.sampling_settings import SamplingSettings
from var.transformer.blocks import AdaLN

SETTINGS = {"output_type": "pt", "progress": False}


class Recorder:
    """What goes through modules while a pipeline runs: calls and outputs, by a hook."""

    def __init__(self):
        self.outputs = []

    def __call__(self, module, args, output):
        self.outputs.append(output)


class LogitsRecorder:
    """A forward pass that keeps the logits it gives."""

    def __init__(self, forward):
        self.forward, self.outputs = forward, []
        self.accumulator, self.passes = forward.accumulator, forward.passes

    def begin(self, condition, *, guide):
        self.started = self.forward.begin(condition, guide=guide)
        return self

    def logits(self, *place):
        self.outputs.append(self.started.logits(*place))
        return self.outputs[-1]


@pytest.fixture(params=["square", "rectangular"])
def any_pipe(request, pipe, rectangular_pipe):
    return {"square": pipe, "rectangular": rectangular_pipe}[request.param]


@torch.no_grad()
def teacher_forced(pipe, labels, token_maps, guidance=None):
    """Logits (batch, length, vocabulary) of one masked pass, guided if asked for."""
    inputs = pipe.vqvae.teacher_inputs(token_maps)
    cond = pipe.transformer(labels, inputs)
    if guidance is None:
        return cond
    null = pipe.transformer(torch.full_like(labels, 5), inputs)
    by_position = torch.tensor(guidance)[pipe.transformer.scales.scale_index()][:, None]
    return null + by_position * (cond - null)


@torch.no_grad()
def test_a_cache_scale_by_scale_gives_the_logits_of_the_masked_pass(any_pipe):
    vqvae, model = any_pipe.vqvae, any_pipe.transformer
    labels = torch.tensor([0, 5, 3])
    token_maps = [torch.randint(16, (3, *shape)) for shape in model.scales.shapes]
    started = Engine(vqvae, model).begin(Condition.of(labels), guide=False)
    started.cache.storage.fill_(float("nan"))  # what is not written yet must not be read
    latents = [None, *vqvae.accumulate(token_maps)]
    logits = [started.logits(scale, latents[scale], 1.0) for scale in range(len(model.scales))]
    expected = model(labels, vqvae.teacher_inputs(token_maps))
    torch.testing.assert_close(torch.cat(logits, dim=1), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("kind", [TeacherForced, Engine])
@torch.no_grad()
def test_the_logits_of_every_scale_are_the_teacher_forced_ones(any_pipe, kind):
    labels = torch.tensor([1, 4])
    guidance = [1.5, 2.0, 3.0]
    recorder = LogitsRecorder(kind(any_pipe.vqvae, any_pipe.transformer))
    streams = [torch.Generator().manual_seed(seed) for seed in (0, 1)]
    made = generate(
        recorder, Condition.of(labels), guidance=guidance, sampling=SamplingSettings(), draws=PerImageDraws(streams)
    )
    found = torch.cat(recorder.outputs, dim=1)
    expected = teacher_forced(any_pipe, labels, made.token_maps, guidance)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert (found - teacher_forced(any_pipe, labels, made.token_maps)).abs().mean() > 0.05


@pytest.mark.parametrize(
    ("guidance", "by_scale"),
    [
        ({"guidance_scale": 1}, [1.0, 1.0, 1.0]),
        ({"guidance_scale": 3.0}, [1.0, 2.0, 3.0]),
        ({"guidance_scale": 2.0, "guidance_schedule": "constant"}, [2.0, 2.0, 2.0]),
        ({"guidance_scale": [0.0, 4.0, 1.0]}, [0.0, 4.0, 1.0]),
    ],
)
def test_greedy_tokens_are_the_argmax_of_the_guided_teacher_forced_logits(any_pipe, guidance, by_scale):
    labels = torch.tensor([0, 1, 2, 3])
    out = any_pipe(labels, top_k=1, seeds=[0, 1, 2, 3], **guidance, **SETTINGS)
    tokens = any_pipe.transformer.scales.flatten(out.tokens)
    logits = teacher_forced(any_pipe, labels, out.tokens, by_scale)
    best, second = logits.topk(2, dim=-1).values.unbind(-1)
    assert (best - second).min() > 1e-4  # no tie that rounding decides
    assert torch.equal(tokens, logits.argmax(-1))
    assert len(tokens.unique()) > 3


def test_images_are_the_decoded_tokens(any_pipe):
    out = any_pipe([0, 2], seeds=[4, 5], **SETTINGS)
    with torch.no_grad():
        torch.testing.assert_close(out.images, (any_pipe.vqvae.decode(out.tokens) + 1) / 2)


def test_a_token_map_is_seen_by_finer_scales_only(pipe):
    labels = torch.tensor([2])
    token_maps = pipe.vqvae.encode(torch.rand(1, 1, 6, 6) * 2 - 1)
    before = teacher_forced(pipe, labels, token_maps)
    for scale, where in enumerate(pipe.transformer.scales.slices()):
        changed = [token_map.clone() for token_map in token_maps]
        changed[scale] = (changed[scale] + 1) % 16
        difference = (teacher_forced(pipe, labels, changed) - before).abs().amax(dim=(0, 2))
        assert not difference[: where.stop].any()
        assert (difference[where.stop :] > 0).all()


def test_without_guidance_no_null_half_is_computed(own_pipe):
    seen = Recorder()
    own_pipe.transformer.class_embedding.register_forward_hook(seen)

    def rows(labels=(1, 2, 3), **guidance):
        seen.outputs.clear()
        own_pipe(labels, seeds=[0, 1, 2], **guidance, **SETTINGS)
        return [len(output) for output in seen.outputs]

    assert rows(guidance_scale=1.0) == [3]
    assert rows(guidance_scale=1.0, guidance_schedule="constant") == [3]
    assert rows(guidance_scale=[1, 1, 1]) == [3]
    assert rows(guidance_scale=2.0) == [6]
    assert rows(None, guidance_scale=2.0) == [3]


def test_modulations_are_computed_once_a_call(own_pipe):
    adaln = Recorder()
    count = 0
    for module in own_pipe.transformer.modules():
        if isinstance(module, AdaLN):
            module.register_forward_hook(adaln)
            count += 1
    own_pipe([1, 2], seeds=[0, 1], **SETTINGS)
    assert len(adaln.outputs) == count == 3


def test_the_log_likelihood_is_that_of_the_tokens_under_the_model(any_pipe):
    images = torch.rand(3, 1, *any_pipe.vqvae.config.image_size) * 2 - 1
    token_maps = any_pipe.vqvae.encode(images)
    tokens = any_pipe.transformer.scales.flatten(token_maps)
    for given, labels in (([0, 3, 1], [0, 3, 1]), (None, [5, 5, 5]), (2, [2, 2, 2])):
        logits = teacher_forced(any_pipe, torch.tensor(labels), token_maps)
        expected = [
            sum(float(F.log_softmax(row[i], -1)[token]) for i, token in enumerate(sequence))
            for row, sequence in zip(logits, tokens, strict=True)
        ]
        found = any_pipe.log_likelihood(images, given)
        torch.testing.assert_close(found, torch.tensor(expected), atol=1e-3, rtol=1e-4)
        assert (found < 0).all()


def test_likelihoods_of_all_token_sequences_sum_to_one():
    pipe = tiny_pipeline((1, (1, 2)))
    first, second, third = torch.meshgrid(*[torch.arange(16)] * 3, indexing="ij")
    token_maps = [first.reshape(-1, 1, 1), torch.stack((second, third), dim=-1).reshape(-1, 1, 2)]
    labels = torch.full((16**3,), 2)
    log_probabilities = teacher_forced(pipe, labels, token_maps).log_softmax(-1)
    tokens = pipe.transformer.scales.flatten(token_maps)
    chosen = log_probabilities.gather(-1, tokens[..., None])[..., 0].sum(1)
    assert float(chosen.exp().sum()) == pytest.approx(1, abs=1e-4)
    # Generation draws from this distribution: the first token's frequencies.
    out = pipe(2, 4000, guidance_scale=1.0, seeds=list(range(4000)), **SETTINGS)
    drawn = torch.bincount(out.tokens[0].flatten(), minlength=16)
    expected = 4000 * chosen.exp().view(16, -1).sum(1)
    usual = expected > 5
    rest = (drawn[~usual].sum() - expected[~usual].sum()).abs()
    assert ((drawn - expected).square() / expected)[usual].sum() < 37.7 + 1  # 0.999 quantile, 15 degrees of freedom
    assert rest < 5 * max(float(expected[~usual].sum()), 1) ** 0.5
