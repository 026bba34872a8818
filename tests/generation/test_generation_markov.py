"""Scale-Markov attention: the cache forgets what the mask hides, and whatever draws images stands on both."""

import pytest
import torch
from teacher_forced import TeacherForced
from tiny import spread, tiny_transformer, tiny_vqvae, transformer_config

from var import VARPipeline
from var.conditions import Condition
from var.errors import UserError
from var.generation.engine import Engine

SIDES, REPEATS = (1, 2, 3), (2, 1, 2)  # maps of 1, 1, 4, 9 and 9 tokens
QUIET = {"output_type": "pt", "progress": False}


def markov(window, **changes):
    torch.manual_seed(5)
    maps = {"sides": SIDES, "repeats": REPEATS}
    model = tiny_transformer(**maps, attention="markov", window=window, width=32, heads=4, **changes)
    return VARPipeline(tiny_vqvae(**maps).eval(), spread(model).eval())


def same(left, right):
    return [torch.equal(*pair) for pair in zip(left.tokens, right.tokens, strict=True)]


@pytest.mark.parametrize(("window", "keys"), [(0, 9), (1, 18), (2, 22), (3, 23), (9, 24)])
@torch.no_grad()
def test_a_cache_of_the_window_gives_the_logits_of_the_masked_pass(window, keys):
    pipe = markov(window)
    vqvae, model = pipe.vqvae, pipe.transformer
    token_maps = [torch.randint(16, (2, *shape)) for shape in model.scales.shapes]
    started = Engine(vqvae, model).begin(Condition.of(torch.tensor([1, 4])), guide=False)
    assert started.cache.storage.shape[4] == keys
    started.cache.storage.fill_(float("nan"))  # what is not written yet must not be read
    latents = [None, *vqvae.accumulate(token_maps)]
    logits = [started.logits(scale, latents[scale], None) for scale in range(len(model.scales))]
    expected = model(torch.tensor([1, 4]), vqvae.teacher_inputs(token_maps))
    torch.testing.assert_close(torch.cat(logits, dim=1), expected, atol=1e-4, rtol=1e-4)


def test_a_window_over_all_scales_is_causal_and_a_smaller_one_is_not():
    torch.manual_seed(1)
    causal = spread(tiny_transformer()).eval()
    inputs = torch.randn(2, 13, 4)
    logits = causal(torch.tensor([1, 4]), inputs)
    for window in range(4):
        model = tiny_transformer(attention="markov", window=window).eval()
        model.load_state_dict(causal.state_dict())  # the same weights: the mask is none of them
        near = torch.isclose(model(torch.tensor([1, 4]), inputs), logits, atol=1e-5).all(-1).all(0)
        assert near.tolist() == [scale <= window for scale in (0, *[1] * 4, *[2] * 9)]


@pytest.mark.parametrize("guidance", [1.0, [1.5, 0.0, 3.0, 1.0, 1.0]])
def test_calls_of_every_kind_draw_what_the_masked_pass_draws(guidance, monkeypatch):
    pipe, slow = markov(1), markov(1)
    decode = slow._runs(None)[1]
    monkeypatch.setattr(slow, "_runs", lambda weaker: (TeacherForced(slow.vqvae, slow.transformer), decode))
    call = {"class_labels": [1, 4, 2], "seeds": [5, 6, 7], "guidance_scale": guidance, **QUIET}
    out = pipe(**call)
    assert all(same(out, slow(**call)))
    assert all(same(out, VARPipeline.collaborate(pipe, pipe, handover=2)(**call)))
    mask = torch.zeros(6, 6, dtype=torch.bool)
    mask[:, 3:] = True
    edited = [each.edit(out.images, mask, **call) for each in (pipe, slow)]
    assert all(same(*edited))
    assert not all(same(edited[0], out))


def test_candidates_go_on_with_their_own_keys():
    call = {"guidance_scale": 3.0, "candidates": 3, "keep_scale": 2, "verifier": _last, **QUIET}
    pipe = markov(1)
    out, alone = pipe([1, 4, 2], seeds=[5, 6, 7], **call), pipe([4], seeds=[6], **call)
    assert out.search["picked"] == [2, 2, 2]
    assert all(torch.equal(each[1:2], one) for each, one in zip(out.tokens, alone.tokens, strict=True))


def _last(images, labels):
    return torch.arange(len(images)) % 3


def test_it_is_saved_and_a_window_needs_it(tmp_path):
    pipe = markov(0)
    pipe.save_pretrained(tmp_path)
    back = VARPipeline.from_pretrained(tmp_path)
    assert back.transformer.config == pipe.transformer.config
    assert all(same(back([1], seeds=[0], **QUIET), pipe([1], seeds=[0], **QUIET)))
    with pytest.raises(UserError, match='a window is of attention="markov", got 2 and "causal"'):
        transformer_config(window=2)
    with pytest.raises(UserError, match="window must be at least 0, got -1"):
        transformer_config(attention="markov", window=-1)
