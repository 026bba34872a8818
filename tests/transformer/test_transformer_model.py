"""The transformer: what it takes, what it refuses, how it starts, and its blocks against the formulas."""

import math

import pytest
import torch
import torch.nn.functional as F
from tiny import transformer_config

from var.errors import UserError
from var.transformer import VAR, VARConfig
from var.transformer.blocks import FEW_KEYS, AdaLN, Attention, attend, modulated_norm


def make_config(**settings):
    return transformer_config(
        **{"vocabulary": 50, "code_width": 5, "num_classes": 4, "width": 24, "heads": 3, **settings}
    )


def make_model(**settings):
    return VAR(make_config(**settings)).eval()


@pytest.mark.parametrize("shared_adaln", [False, True])
@torch.no_grad()
def test_the_first_scales_alone_give_the_logits_of_the_full_pass(shared_adaln):
    model = make_model(shared_adaln=shared_adaln)
    labels, inputs = torch.tensor([0, 4, 2]), torch.randn(3, 13, 5)
    full = model(labels, inputs)
    assert full.shape == (3, 14, 50)
    for length in (1, 5):
        torch.testing.assert_close(model(labels, inputs[:, : length - 1]), full[:, :length])


@pytest.mark.parametrize("length", [1, 3, 12, 14])
def test_inputs_that_end_within_a_scale(length):
    with pytest.raises(UserError, match=rf"must fill whole scales .* got {length} positions; .*teacher_inputs"):
        make_model()(torch.tensor([0]), torch.randn(1, length, 5))


def test_labels_out_of_range():
    model = make_model()
    model(torch.tensor([4]), torch.randn(1, 13, 5))  # the null label
    for label in (-1, 5):
        with pytest.raises(UserError, match=r"must lie in \[0, 4\] \(4 is the null label\)"):
            model(torch.tensor([label, 0]), torch.randn(2, 13, 5))


@pytest.mark.parametrize("shared_adaln", [False, True])
@torch.no_grad()
def test_an_untrained_model_is_undecided(shared_adaln):
    model = make_model(vocabulary=512, width=64, heads=4, shared_adaln=shared_adaln)
    logits = model(torch.randint(5, (8,)), torch.randn(8, 13, 5))
    loss = F.cross_entropy(logits.flatten(0, 1), torch.randint(512, (8 * 14,)))
    assert float(loss) == pytest.approx(math.log(512), abs=0.1)
    assert 0 < logits.std() < 0.5


def test_initial_weights():
    config = make_config(depth=8, width=96, heads=3, shared_adaln=True, embedding_std=0.3, modulation_std=0.02)
    model = VAR(config)
    linear = (3 * 96) ** -0.5
    expected = {
        "class_embedding.weight": 0.3,
        "position": 0.3,
        "scale_embedding.weight": 0.3,
        "token_projection.weight": linear,
        "shared_adaln.linear.weight": 0.02,
        "head_adaln.linear.weight": 0.02,
        "head.weight": 0.02,
        "blocks.3.attention.qkv.weight": linear,
        "blocks.3.attention.projection.weight": linear / 4,  # residual branches: over the root of 2 depth
        "blocks.3.mlp.fc1.weight": linear,
        "blocks.3.mlp.fc2.weight": linear / 4,
    }
    state = model.state_dict()
    for name, std in expected.items():
        count = state[name].numel()
        assert float(state[name].std()) == pytest.approx(std, rel=4 / math.sqrt(2 * count)), name
        assert float(state[name].mean()) == pytest.approx(0, abs=4 * std / math.sqrt(count)), name
    for name, value in state.items():
        if name.endswith(("bias", "adaln_offset")):
            assert not value.any(), name
        if name.endswith("log_scale"):
            torch.testing.assert_close(value, torch.full((3, 1, 1), math.log(4)))


def test_logits_are_float32_whatever_the_precision_of_the_blocks():
    model = make_model().to(torch.bfloat16)
    logits = model(torch.tensor([0]), torch.randn(1, 13, 5, dtype=torch.bfloat16))
    assert logits.dtype == torch.float32
    assert torch.isfinite(logits).all()


@torch.no_grad()
def test_modulated_norm_by_hand():
    x = torch.tensor([[[1.0, 3.0], [5.0, -5.0]]])
    scale, shift = torch.tensor([[[1.0, 0.5]]]), torch.tensor([[[10.0, 20.0]]])
    # Normalised over the width, both rows are -1 and 1 or 1 and -1; then times (1 + scale), plus shift.
    expected = torch.tensor([[[10 - 2.0, 20 + 1.5], [10 + 2.0, 20 - 1.5]]])
    torch.testing.assert_close(modulated_norm(x, scale, shift), expected, atol=1e-4, rtol=0)


@torch.no_grad()
def test_adaln_by_hand():
    adaln = AdaLN(3, 2)
    adaln.linear.bias.normal_()
    condition = torch.randn(4, 3)
    expected = (condition * condition.sigmoid()) @ adaln.linear.weight.T + adaln.linear.bias
    torch.testing.assert_close(adaln(condition), expected.view(4, 2, 3))


@pytest.mark.parametrize("l2_attention", [False, True])
@torch.no_grad()
def test_attention_by_hand(l2_attention):
    attention = Attention(make_config(l2_attention=l2_attention)).eval()
    for parameter in attention.parameters():
        parameter.normal_()
    if l2_attention:  # the last head beyond the largest scale, 100
        attention.log_scale.copy_(torch.tensor([0.5, 2.0, 7.0])[:, None, None])
    x = torch.randn(2, 6, 24)
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    q, k, v = (x @ attention.qkv.weight.T).split(24, dim=-1)
    q, v = q + attention.q_bias, v + attention.v_bias
    heads = []
    for head in range(3):
        mine = slice(8 * head, 8 * head + 8)
        qh, kh, vh = q[..., mine], k[..., mine], v[..., mine]
        if l2_attention:
            scale = min(math.exp([0.5, 2.0, 7.0][head]), 100)
            scores = scale * F.cosine_similarity(qh[:, :, None], kh[:, None], dim=-1)
        else:
            scores = 0.25 / math.sqrt(8) * qh @ kh.mT
        heads.append(scores.masked_fill(~mask, -math.inf).softmax(-1) @ vh)
    expected = torch.cat(heads, dim=-1) @ attention.projection.weight.T + attention.projection.bias
    torch.testing.assert_close(attention(x, mask), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("keys", [FEW_KEYS - 1, FEW_KEYS, FEW_KEYS + 1])
def test_few_keys_and_many_are_attended_to_alike(keys):
    q, k, v = torch.randn(2, 3, 4, 8), torch.randn(2, 3, keys, 8), torch.randn(2, 3, keys, 8)
    expected = torch.einsum("bhqk,bhkc->bhqc", (0.7 * torch.einsum("bhqc,bhkc->bhqk", q, k)).softmax(-1), v)
    torch.testing.assert_close(attend(q, k, v, None, 0.7), expected)
    mask = torch.arange(keys).expand(4, -1) < keys // 2
    torch.testing.assert_close(
        attend(q, k, v, mask, 0.7), attend(q, k[:, :, : keys // 2], v[:, :, : keys // 2], None, 0.7)
    )


@pytest.mark.parametrize("activation", ["gelu_tanh", "gelu"])
@torch.no_grad()
def test_the_mlp_of_a_block_by_hand(activation):
    mlp = make_model(activation=activation).blocks[0].mlp
    x = torch.randn(2, 3, 24)
    hidden = x @ mlp.fc1.weight.T + mlp.fc1.bias
    if activation == "gelu":
        gate = (1 + torch.erf(hidden / math.sqrt(2))) / 2
    else:
        gate = (1 + torch.tanh(math.sqrt(2 / math.pi) * (hidden + 0.044715 * hidden**3))) / 2
    assert hidden.shape[-1] == 96
    torch.testing.assert_close(mlp(x), hidden * gate @ mlp.fc2.weight.T + mlp.fc2.bias, atol=1e-6, rtol=1e-5)


def test_the_published_activation_is_the_default():
    assert VARConfig().activation == "gelu_tanh"


@torch.no_grad()
def test_shared_modulation_plus_an_offset_for_each_block():
    model = make_model(shared_adaln=True)
    model.blocks[1].adaln_offset.normal_()
    labels = torch.tensor([1, 3])
    shared = model.shared_adaln(model.class_embedding(labels))
    first, second = model.conditioning(labels).blocks
    names = ("gamma1", "gamma2", "scale1", "scale2", "shift1", "shift2")
    for part, name in enumerate(names):
        assert torch.equal(getattr(first, name)[:, 0], shared[:, part])
        assert torch.equal(getattr(second, name)[:, 0], shared[:, part] + model.blocks[1].adaln_offset[:, part])


@torch.no_grad()
def test_where_the_inputs_of_the_blocks_come_from():
    model = make_model(sides=((1, 2), (2, 3)))
    labels, inputs = torch.tensor([1]), torch.randn(1, 6, 5)
    start = model.conditioning(labels).start[0]
    for position in range(2):
        expected = model.class_embedding.weight[1] + model.start[0, position] + model.position[0, position]
        torch.testing.assert_close(start[position], expected + model.scale_embedding.weight[0])
    shown = []
    model.blocks[0].register_forward_pre_hook(lambda _, arguments: shown.append(arguments[0]))
    model(labels, inputs)
    assert torch.equal(shown[0][0, :2], start)
    embedded = shown[0][0, 2:]
    expected = model.token_projection(inputs[0]) + model.position[0, 2:] + model.scale_embedding.weight[1]
    torch.testing.assert_close(embedded, expected)


def test_drop_path_rises_over_the_blocks_and_acts_in_training_only():
    model = make_model(depth=4, drop_path=0.3)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in model.blocks]
    assert rates == pytest.approx([0, 0.1, 0.2, 0.3])
    labels, inputs = torch.zeros(16, dtype=torch.long), torch.randn(1, 13, 5).expand(16, -1, -1)
    same = model(labels, inputs)
    torch.testing.assert_close(same, same[:1].expand_as(same))
    with torch.no_grad():  # gates that let the branches matter
        for block in model.blocks:
            block.adaln.linear.bias.fill_(1.0)
    dropped = model.train()(labels, inputs)
    assert len(dropped.flatten(1).unique(dim=0)) > 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 0}, "depth must be at least 1, got 0"),
        ({"vocabulary": 0}, "vocabulary must be at least 1, got 0"),
        ({"num_classes": 0}, "num_classes must be at least 1, got 0"),
        ({"width": 25}, "width must be divisible by heads, got 25 and 3"),
        ({"drop_path": 1.0}, r"drop_path is a probability and must lie in \[0, 1\), got 1.0"),
        ({"dropout": -0.1}, r"dropout is a probability and must lie in \[0, 1\), got -0.1"),
        ({"sides": (1, 1)}, "must grow"),
    ],
)
def test_impossible_configurations(settings, message):
    with pytest.raises(UserError, match=message):
        make_config(**settings)
