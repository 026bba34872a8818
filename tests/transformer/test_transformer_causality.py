"""Who sees whom, by gradients: logits of a scale depend on its own and coarser inputs and on the label only.

The inputs of scale k are made of the token maps of scales < k, so that logits never depend on the tokens they predict.
"""

import pytest
import torch
from tiny import spread, tiny_transformer

SCHEDULES = {"square": (1, 2, 3), "rectangular": ((1, 2), (2, 2), (2, 5)), "wide start": (2, 3, 4)}


def make_model(sides=(1, 2, 3), **settings):
    tokens = {"sides": sides, "vocabulary": 11, "code_width": 5, "num_classes": 4}
    return spread(tiny_transformer(**{**tokens, "depth": 3, "width": 24, "heads": 3, **settings})).eval()


def dependence(model, labels, inputs):
    """Entry (j, k): how much the logits of scale j feel the inputs of scale k; scale 0 has none but the label's."""
    scales = model.scales
    logits = model(labels, inputs)
    start = scales.lengths[0]
    table = torch.zeros(len(scales), len(scales))
    for j, where in enumerate(scales.slices()):
        weights = torch.randn_like(logits[:, where])  # a plain sum could cancel
        (gradient,) = torch.autograd.grad((logits[:, where] * weights).sum(), inputs, retain_graph=True)
        for k, place in list(enumerate(scales.slices()))[1:]:
            table[j, k] = gradient[:, place.start - start : place.stop - start].abs().sum()
    return table


@pytest.mark.parametrize("sides", SCHEDULES.values(), ids=SCHEDULES)
@pytest.mark.parametrize("shared_adaln", [False, True], ids=["own-adaln", "shared-adaln"])
@pytest.mark.parametrize("l2_attention", [False, True], ids=["plain-attention", "l2-attention"])
def test_logits_depend_on_their_own_and_coarser_inputs_only(sides, shared_adaln, l2_attention):
    model = make_model(sides, shared_adaln=shared_adaln, l2_attention=l2_attention)
    scales = model.scales
    inputs = torch.randn(2, scales.length - scales.lengths[0], 5, requires_grad=True)
    table = dependence(model, torch.tensor([1, 4]), inputs)
    for j in range(len(scales)):
        for k in range(1, len(scales)):
            assert (table[j, k] > 1e-6) if k <= j else (table[j, k] == 0), (j, k)


def test_every_position_sees_all_of_its_own_scale():
    model = make_model()
    inputs = torch.randn(1, 13, 5, requires_grad=True)
    logits = model(torch.tensor([0]), inputs)
    for position in range(5, 14):
        (gradient,) = torch.autograd.grad(logits[0, position].square().sum(), inputs, retain_graph=True)
        assert (gradient[0].abs().sum(1) > 0).all()


@pytest.mark.parametrize("shared_adaln", [False, True])
def test_all_scales_depend_on_their_own_label_only(shared_adaln):
    model = make_model(shared_adaln=shared_adaln)
    logits = model(torch.tensor([1, 4]), torch.randn(2, 13, 5))
    for where in model.scales.slices():
        loss = logits[0, where].square().sum()
        (gradient,) = torch.autograd.grad(loss, model.class_embedding.weight, retain_graph=True)
        assert gradient.abs().sum(1).nonzero().flatten().tolist() == [1]


def test_samples_of_a_batch_do_not_see_each_other():
    model = make_model()
    inputs = torch.randn(3, 13, 5, requires_grad=True)
    logits = model(torch.tensor([0, 1, 2]), inputs)
    (gradient,) = torch.autograd.grad(logits[1].square().sum(), inputs)
    assert gradient[1].any()
    assert not gradient[0].any()
    assert not gradient[2].any()
