"""A large transformer for the coarse scales, a small one for the rest: each is what it would be behind these maps."""

import copy
import pickle

import pytest
import torch
from teacher_forced import TeacherForced
from tiny import tiny_partner, tiny_pipeline

from var import VARPipeline
from var.conditions import Condition
from var.errors import UserError
from var.generation.collaboration import Collaborated, checked_finer
from var.generation.engine import Engine, EnginePass

CALL = {"class_labels": [1, 4, 2], "seeds": [5, 6, 7], "output_type": "pt", "progress": False}


@pytest.fixture(scope="module")
def large():
    return tiny_pipeline()


@pytest.fixture(scope="module")
def small(large):
    """Another transformer of the same tokens, of half the depth and width."""
    return tiny_partner(large, depth=1, width=16, heads=2)


def same(left, right):
    return [torch.equal(*pair) for pair in zip(left.tokens, right.tokens, strict=True)]


@pytest.mark.parametrize("guidance", [{"guidance_scale": 1}, {"guidance_scale": [3.0, 2.0, 1.0]}])
def test_all_scales_are_the_large_model_alone_and_none_the_small_one(large, small, guidance):
    for handover, alone in ((3, large), (0, small)):
        out = VARPipeline.collaborate(large, small, handover=handover)(**CALL, **guidance)
        expected = alone(**CALL, **guidance)
        assert all(same(out, expected))
        assert torch.equal(out.images, expected.images)


@pytest.mark.parametrize("compiled", [False, True])
def test_up_to_the_handover_tokens_are_the_large_models(large, small, compiled):
    pipe = VARPipeline.collaborate(large, small, handover=2)
    if compiled:
        pipe.compile()
    out = pipe(**CALL, guidance_scale=3.0)
    assert same(out, large(**CALL, guidance_scale=3.0)) == [True, True, False]
    alone = pipe(class_labels=[4], seeds=[6], output_type="pt", progress=False, guidance_scale=3.0)
    assert all(torch.equal(each[1:2], one) for each, one in zip(out.tokens, alone.tokens, strict=True))


@torch.no_grad()
def test_each_scale_has_the_guided_teacher_forced_logits_of_its_model(large, small):
    shown = Condition.of(torch.tensor([0, 3]))
    pairs = [(each.vqvae, each.transformer) for each in (large, small)]
    strong, weak = (TeacherForced(*pair).begin(shown, guide=True) for pair in pairs)
    both = Collaborated(*(Engine(*pair) for pair in pairs), handover=1).begin(shown, guide=True)
    latents = [None, *large.vqvae.accumulate([torch.tensor([3, 7]).view(2, 1, 1), torch.randint(16, (2, 2, 2))])]
    for scale, guidance in enumerate((2.0, 3.0, None)):
        truth = [each.logits(scale, latents[scale], guidance) for each in (strong, weak)][scale >= 1]
        torch.testing.assert_close(both.logits(scale, latents[scale], guidance), truth, atol=1e-4, rtol=1e-4)


def test_the_large_model_is_not_run_after_it(large, small, monkeypatch):
    seen, hidden = [], EnginePass._hidden

    def spy(self, scale, number, x):
        seen.append((len(self.engine.layers), scale, len(x)))
        return hidden(self, scale, number, x)

    monkeypatch.setattr(EnginePass, "_hidden", spy)
    VARPipeline.collaborate(large, small, handover=2)(**CALL, guidance_scale=[2.0, 1.0, 1.0])
    assert sorted(seen) == [(1, 0, 6), (1, 1, 3), (1, 2, 3), (2, 0, 6), (2, 1, 3)]


def test_the_handover_is_after_seven_of_ten_scales(large, small):
    assert VARPipeline.collaborate(large, small).handover == 2  # of three


def test_it_is_saved_copied_and_moved_as_one(large, small, tmp_path):
    pipe = VARPipeline.collaborate(large, small, handover=2)
    expected = pipe(**CALL)
    pipe.save_pretrained(tmp_path)
    for twin in (VARPipeline.from_pretrained(tmp_path), copy.deepcopy(pipe), pickle.loads(pickle.dumps(pipe))):
        assert twin.handover == 2
        assert all(same(twin(**CALL), expected))
    half = copy.deepcopy(pipe).to(torch.bfloat16)
    assert half.finer.head.weight.dtype == torch.bfloat16


def test_it_may_be_guided_by_a_weaker_model_and_be_one(large, small):
    from var import Guidance

    pipe = VARPipeline.collaborate(large, small, handover=2)
    off = pipe(**CALL, guidance_scale=1)
    assert all(same(pipe(**CALL, guidance=Guidance(scale=4.0, weaker=pipe)), off))
    guided = pipe(**CALL, guidance=Guidance(scale=4.0, schedule="constant", weaker=small))
    assert not all(same(guided, off))


def test_names_of_the_classes_are_those_of_whoever_has_some(small):
    named = tiny_pipeline(class_names=list("abcde"))
    assert VARPipeline.collaborate(named, small, 1).class_names == tuple("abcde")
    assert VARPipeline.collaborate(small, named, 1).class_names == tuple("abcde")


def other_codes(pipe):
    vqvae = copy.deepcopy(pipe.vqvae)
    with torch.no_grad():
        vqvae.quantizer.codebook.weight.mul_(2)
    return VARPipeline(vqvae, pipe.transformer)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (other_codes, "small must have the same tokenizer as large"),
        (lambda _: tiny_pipeline(num_classes=4), "small must have the same num_classes as large, 5, got 4"),
        (lambda _: tiny_pipeline(sides=(1, 2, 4)), r"small must have the same sides as large, \(1, 2, 3\)"),
        (lambda pipe: pipe.transformer, "small must be a VARPipeline of one transformer, got a VAR; load one"),
        (lambda pipe: VARPipeline.collaborate(pipe, pipe, 1), "small must be a VARPipeline of one transformer, got a"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(large, other, message):
    with pytest.raises(UserError, match=message):
        VARPipeline.collaborate(large, other(large), handover=1)


@pytest.mark.parametrize(
    ("handover", "message"),
    [
        (-1, "handover must be the number of scales that the large model draws, 0 to 3, got -1"),
        (4, "0 to 3, got 4"),
        (1.5, "handover must be a whole number or None, got 1.5"),
        (None, "got handover=None; give both or neither"),
    ],
)
def test_a_handover_that_cannot_be_is_refused(large, small, handover, message):
    with pytest.raises(UserError, match=message):
        checked_finer(small.transformer, handover, large.transformer)
    with pytest.raises(UserError):
        VARPipeline(large.vqvae, large.transformer, finer=small.transformer, handover=4)
    with pytest.raises(UserError):
        VARPipeline.collaborate(None, small, 1)


def test_a_likelihood_of_two_is_refused(large, small):
    with pytest.raises(UserError, match="a likelihood is that of one transformer"):
        VARPipeline.collaborate(large, small, 1).log_likelihood(torch.zeros(1, 1, 6, 6), [1])
