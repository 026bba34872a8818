"""Logits from what the codes of tokens are: like codes, Gaussians, generation, saving, and what stays as it was."""

import pytest
import torch
from teacher_forced import TeacherForced
from tiny import spread, tiny_transformer, tiny_vqvae
from torch import nn

from var import VARPipeline
from var.conditions import Condition
from var.configs import config_to_dict
from var.errors import UserError
from var.generation.engine import Engine
from var.recipes.transformer.settings import TransformerRun
from var.recipes.transformer.task import TransformerTask
from var.training import TrainingConfig
from var.transformer.head import CodeHead

QUIET = {"output_type": "pt", "progress": False}


def by_code(**changes):
    torch.manual_seed(5)
    changes = {"output": "code", "width": 32, "heads": 4, **changes}
    model, vqvae = spread(tiny_transformer(**changes)), tiny_vqvae().eval()
    TransformerTask(model, vqvae)  # tells the model of the codes
    return VARPipeline(vqvae, model.eval())


def head_of(codes, width=3):
    torch.manual_seed(2)
    head = CodeHead(len(codes), codes.shape[1], width)
    head.codes.copy_(codes)
    return head


@torch.no_grad()
def test_like_codes_have_like_logits_and_it_is_the_linear_layer_of_its_weights():
    codes = torch.randn(6, 4)
    codes[1] = codes[0]
    codes[2] = codes[0] + 1e-4
    head = spread(head_of(codes))
    x = torch.randn(2, 5, 3)
    logits = head(x)
    torch.testing.assert_close(logits, nn.functional.linear(x, head.weight, head.bias))
    torch.testing.assert_close(logits[..., 0], logits[..., 1])
    near = (logits[..., 2] - logits[..., 0]).abs().max()
    assert 0 < near < 0.01 < (logits[..., 3:] - logits[..., :1]).abs().min(dim=-1).values.max()


@torch.no_grad()
def test_it_gives_a_gaussian_around_any_point():
    """log N(c; m, s^2) = m.c / s^2 - |c|^2 / 2 s^2 + a constant, for an input that is m itself."""
    codes, variance = torch.randn(50, 3), 0.7
    head, width = head_of(codes), 3
    head.output.weight.zero_()
    head.output.bias.zero_()
    unit = codes.std()  # in which codes are seen
    head.output.weight[:width] = torch.eye(width) * unit / variance
    head.output.bias[width] = -width * unit**2 / (2 * variance)  # the mean of squares is seen
    middle = torch.randn(2, 4, width)
    expected = -(middle[:, :, None] - codes).square().sum(dim=-1) / (2 * variance)
    torch.testing.assert_close(head(middle).log_softmax(-1), expected.log_softmax(-1), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("changes", [{}, {"passes": (1, 2, 3), "told": "code"}])
@pytest.mark.parametrize("guided", [False, True])
@torch.no_grad()
def test_generation_computes_what_the_modules_do(changes, guided):
    pipe = by_code(**changes)
    vqvae, model = pipe.vqvae, pipe.transformer
    assert torch.equal(model.head.codes, vqvae.codes(0))
    token_maps = [torch.randint(16, (2, *shape)) for shape in model.scales.shapes]
    latents = [None, *vqvae.accumulate(token_maps)]
    passes = [
        each(vqvae, model).begin(Condition.of(torch.tensor([1, 4])), guide=guided) for each in (TeacherForced, Engine)
    ]
    for scale in range(len(model.scales)):
        drawn = []
        for positions in model.passes.of(scale):
            slow, fast = (each.logits(scale, latents[scale], 2.0 if guided else None, drawn) for each in passes)
            torch.testing.assert_close(fast, slow, atol=1e-4, rtol=1e-4)
            drawn.append(token_maps[scale].flatten(1)[:, positions])


def test_it_is_saved_with_the_codes_and_written_weights_are_followed(tmp_path):
    pipe = by_code(output="both")
    call = {"class_labels": [1, 4], "seeds": [5, 6], **QUIET}
    before = pipe(**call).images
    pipe.save_pretrained(tmp_path / "whole")
    back = VARPipeline.from_pretrained(tmp_path / "whole")
    assert back.transformer.config.output == "both"
    assert torch.equal(back(**call).images, before)
    for name in ("hidden.bias", "output.weight", "output.bias", "codes", "own"):
        tensor = pipe.transformer.head.state_dict()[name]
        tensor.mul_(1 + torch.arange(tensor.shape[0]).view(-1, *[1] * (tensor.ndim - 1)) % 3)
        after = pipe(**call).images
        assert not torch.equal(after, before), name
        assert torch.equal(VARPipeline(pipe.vqvae, pipe.transformer)(**call).images, after)
        before = after


def test_what_is_more_than_its_weights_is_refused():
    class Adapted(nn.Linear):
        def forward(self, x):
            return super().forward(x) + 1

    pipe = by_code()
    pipe.transformer.head.output = Adapted(32, pipe.transformer.head.output.out_features)
    with pytest.raises(UserError, match=r"\Ageneration .*, got a Adapted as head.output; merge .*\Z"):
        pipe([1], seeds=[0], **QUIET)


@torch.no_grad()
def test_weights_of_its_own_tell_a_token_from_others_of_its_code():
    head = CodeHead(4, 4, 2, own=True)
    head.codes.copy_(torch.eye(4)[[1, 1, 1, 2]])
    x = torch.randn(1, 5, 2)
    assert head(x)[..., :3].std(dim=2).max() < 1e-6
    head.own[1] = torch.tensor([3.0, -1.0])
    logits = head(x)
    torch.testing.assert_close(logits[..., 1] - logits[..., 0], x @ head.own[1])
    assert torch.equal(logits[..., 0], logits[..., 2])


@pytest.mark.parametrize("output", ["code", "both"])
def test_all_of_it_learns_and_the_codes_stay(output):
    pipe = by_code(output=output)
    vqvae, model = pipe.vqvae, pipe.transformer.train()
    tokens = torch.randint(16, (2, model.scales.length))
    inputs = vqvae.inputs(model.scales.split(tokens))
    loss, _ = TransformerTask(model, vqvae).cross_entropy(model, Condition.of(torch.tensor([1, 2])), tokens, inputs)
    loss.backward()
    assert all(weight.grad.abs().max() > 0 for weight in model.head.parameters())
    assert not model.head.codes.requires_grad


def test_a_token_has_weights_of_its_own_where_nothing_else_is_asked_for():
    """So that models and runs of before are what they were."""
    plain = TransformerRun(training=TrainingConfig(steps=1), transformer=tiny_transformer().config)
    assert isinstance(plain.model().head, nn.Linear)
    assert "output" not in config_to_dict(plain.transformer)
    with pytest.raises(UserError, match="output"):
        tiny_transformer(output="codes")
