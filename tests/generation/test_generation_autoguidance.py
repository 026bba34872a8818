"""A weaker model in the place of the null: nothing changes if it is the model itself, and else its logits are mixed."""

import copy

import pytest
import torch
from teacher_forced import TeacherForced
from tiny import tiny_partner, tiny_pipeline

from var import Guidance, VARPipeline
from var.conditions import Condition
from var.errors import UserError
from var.generation.autoguidance import Autoguided
from var.generation.engine import Engine, EnginePass

CALL = {"class_labels": [1, 4, 2], "seeds": [5, 6, 7], "output_type": "pt", "progress": False}


@pytest.fixture(scope="module")
def strong():
    return tiny_pipeline()


@pytest.fixture(scope="module")
def weaker(strong):
    """Another transformer of the same tokens, of half the depth."""
    return tiny_partner(strong, depth=1)


def tokens(out):
    return torch.cat([each.flatten() for each in out.tokens])


@pytest.mark.parametrize("compiled", [False, True])
def test_the_model_itself_changes_nothing(strong, compiled):
    pipe = tiny_pipeline().compile() if compiled else strong
    off = pipe(**CALL, guidance_scale=1.0)
    assert torch.equal(tokens(pipe(**CALL, guidance=Guidance(scale=4.0, weaker=pipe))), tokens(off))
    assert torch.equal(tokens(pipe(**CALL, guidance=Guidance(scale=4.0, weaker=tiny_pipeline()))), tokens(off))


@torch.no_grad()
def test_logits_are_mixed_as_those_of_the_null_are(strong, weaker):
    shown = Condition.of(torch.tensor([0, 3]))
    pairs = [(each.vqvae, each.transformer) for each in (strong, weaker)]
    slow = [TeacherForced(*pair).begin(shown, guide=False) for pair in pairs]
    fast = Autoguided(*(Engine(*pair) for pair in pairs)).begin(shown, guide=True)
    latent = None
    for scale, strength in ((0, 1.0), (1, 2.5)):
        mine, theirs = (each.logits(scale, latent, 1.0) for each in slow)
        found = fast.logits(scale, latent, strength)
        torch.testing.assert_close(found, theirs + strength * (mine - theirs), atol=1e-4, rtol=1e-4)
        latent = strong.vqvae.accumulate([torch.tensor([3, 7]).view(2, 1, 1)])[-1]
    torch.testing.assert_close(fast.logits(2, latent, None), slow[0].logits(2, latent, 1.0), atol=1e-4, rtol=1e-4)


def test_it_moves_images_of_nothing_in_particular_too(strong, weaker):
    call = {**CALL, "class_labels": None}
    off, on = (strong(**call, guidance=Guidance(scale=s, schedule="constant", weaker=weaker)) for s in (1, 5))
    assert torch.equal(tokens(off), tokens(strong(**call)))
    assert not torch.equal(tokens(off), tokens(on))


def test_the_weaker_model_is_run_only_as_far_as_it_guides(strong, weaker, monkeypatch):
    seen, hidden = [], EnginePass._hidden

    def spy(self, scale, number, x):
        seen.append((len(self.engine.layers), scale))
        return hidden(self, scale, number, x)

    monkeypatch.setattr(EnginePass, "_hidden", spy)
    strong(**CALL, guidance=Guidance(scale=2.0, schedule="constant", stop=2, weaker=weaker))
    assert sorted(seen) == [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]


def other_codes(strong):
    vqvae = copy.deepcopy(strong.vqvae)
    with torch.no_grad():
        vqvae.quantizer.codebook.weight.mul_(2)
    return VARPipeline(vqvae, strong.transformer)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda _: tiny_pipeline(num_classes=4), "the same num_classes as what it guides, 5, got 4"),
        (lambda _: tiny_pipeline(sides=(1, 2, 4)), r"the same sides as what it guides, \(1, 2, 3\)"),
        (lambda _: tiny_pipeline(vector_width=3), "the same vector_width"),
        (other_codes, "the same tokenizer"),
        (lambda pipe: pipe.transformer, "weaker must be a VARPipeline, as what it guides, got VAR"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(strong, other, message):
    with pytest.raises(UserError, match=message):
        strong(**CALL, guidance=Guidance(scale=2.0, weaker=other(strong)))


def test_other_class_names_are_other_classes(weaker):
    named, other = (tiny_pipeline(class_names=list(names)) for names in ("abcde", "vwxyz"))
    named(**CALL, guidance=Guidance(weaker=weaker))  # which has none
    with pytest.raises(UserError, match="the same class_names"):
        named(**CALL, guidance=Guidance(weaker=other))
