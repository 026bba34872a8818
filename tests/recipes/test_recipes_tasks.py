"""The loss of the transformer's task against the few lines that define it."""

import pytest
import torch
import torch.nn.functional as F
from tiny import tiny_transformer, tiny_vqvae, transformer_config

from var.conditions import Condition
from var.data.batches import Batch
from var.errors import UserError
from var.recipes.transformer.settings import TransformerRun
from var.recipes.transformer.task import TransformerTask
from var.training import TrainingConfig


def make_vqvae(**settings):
    torch.manual_seed(3)
    return tiny_vqvae(**{"attention": True, **settings})


def make_transformer(**settings):
    torch.manual_seed(4)
    return tiny_transformer(**settings)


def make_batch(count=6):
    images = torch.rand(count, 1, 6, 6) * 2 - 1
    return Batch(images, Condition.of(torch.arange(count) % 5), torch.arange(count))


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_transformer_loss_is_the_cross_entropy_of_all_tokens():
    vqvae, model, batch = make_vqvae(), make_transformer(), make_batch()
    task = TransformerTask(model, vqvae, label_drop=0.0)
    loss, numbers = task.loss(model, batch, generator())
    token_maps = vqvae.encode(batch.images)
    tokens = model.scales.flatten(token_maps)
    chosen = F.log_softmax(model(batch.labels, vqvae.teacher_inputs(token_maps)), dim=-1)
    by_token = -torch.stack([row[range(14), sequence] for row, sequence in zip(chosen, tokens, strict=True)])
    torch.testing.assert_close(loss, by_token.mean())
    assert float(numbers["accuracy"]) == pytest.approx(float((chosen.argmax(-1) == tokens).float().mean()))
    for scale, where in enumerate((slice(0, 1), slice(1, 5), slice(5, 14))):
        torch.testing.assert_close(numbers[f"loss_{scale}"], by_token[:, where].mean().detach())
        right = chosen.argmax(-1)[:, where] == tokens[:, where]
        assert float(numbers[f"accuracy_{scale}"]) == pytest.approx(float(right.float().mean()))
    assert set(numbers) == {f"{name}_{scale}" for name in ("loss", "accuracy") for scale in range(3)} | {"accuracy"}
    assert not any(number.requires_grad for number in numbers.values())


def test_maps_weigh_in_the_loss_as_they_are_told_to():
    vqvae, model, batch = make_vqvae(), make_transformer(), make_batch()
    plain, numbers = TransformerTask(model, vqvae, label_drop=0.0).loss(model, batch, generator())
    task = TransformerTask(model, vqvae, label_drop=0.0, map_weights=(3.0, 0.5, 1.0))
    loss, same = task.loss(model, batch, generator())
    by_map = torch.stack([numbers[f"loss_{scale}"] for scale in range(3)])
    weights = torch.tensor([3.0, 0.5, 1.0]) * torch.tensor([1, 4, 9])
    torch.testing.assert_close(loss.detach(), (by_map * weights).sum() / weights.sum())
    assert same == numbers
    assert loss != plain


def test_a_share_of_the_prediction_is_all_codes_alike():
    vqvae, model, batch = make_vqvae(), make_transformer(), make_batch()
    plain, numbers = TransformerTask(model, vqvae, label_drop=0.0).loss(model, batch, generator())
    smooth, same = TransformerTask(model, vqvae, label_drop=0.0, label_smoothing=0.2).loss(model, batch, generator())
    token_maps = vqvae.encode(batch.images)
    chances = model(batch.labels, vqvae.teacher_inputs(token_maps), None).log_softmax(dim=-1)
    torch.testing.assert_close(smooth, 0.8 * plain - 0.2 * chances.mean())
    assert all(torch.equal(same[name], numbers[name]) for name in numbers)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"label_smoothing": 1.0}, r"label_smoothing is a probability and must lie in \[0, 1\), got 1.0; lower it"),
        (
            {"label_smoothing": 0.1, "distilled_guidance": 2.0},
            "label_smoothing and tokens.kept are of training on tokens",
        ),
        ({"map_weights": (1.0, 2.0)}, r"a positive number for each of the 3 token maps, got \(1.0, 2.0\)"),
        ({"map_weights": (1.0, 2.0, 0.0)}, r"a positive number for each .*, got \(1.0, 2.0, 0.0\); leave them empty"),
        ({"map_weights": (1.0, 2.0, 1.0), "distilled_guidance": 2.0}, "got distilled_guidance=2 too; leave one"),
    ],
)
def test_weights_that_cannot_be_are_refused(changes, complaint):
    with pytest.raises(UserError, match=complaint):
        TransformerRun(training=TrainingConfig(steps=1), transformer=transformer_config(), **changes)


def test_dropped_labels_are_trained_as_the_null_label():
    vqvae, model, batch = make_vqvae(), make_transformer(), make_batch()
    dropped, _ = TransformerTask(model, vqvae, label_drop=1.0).loss(model, batch, generator())
    null = Batch(batch.images, Condition.of(torch.full((6,), 5)), batch.indices)
    expected, _ = TransformerTask(model, vqvae, label_drop=0.0).loss(model, null, generator())
    kept, _ = TransformerTask(model, vqvae, label_drop=0.0).loss(model, batch, generator())
    torch.testing.assert_close(dropped, expected)
    assert not torch.allclose(dropped, kept)
    half = [TransformerTask(model, vqvae, label_drop=0.5).loss(model, batch, generator(s))[0].item() for s in (1, 1, 2)]
    assert half[0] == half[1] != half[2]


def test_the_tokenizer_does_not_learn_from_the_transformer():
    vqvae, model, batch = make_vqvae(codebook="ema"), make_transformer(), make_batch()
    before = {name: value.clone() for name, value in vqvae.state_dict().items()}
    task = TransformerTask(model, vqvae.train())
    loss, _ = task.loss(model, batch, generator())
    loss.backward()
    assert not vqvae.training
    assert all(weight.grad is None and not weight.requires_grad for weight in vqvae.parameters())
    assert all(torch.equal(value, before[name]) for name, value in vqvae.state_dict().items())
    untouched = [name for name, weight in model.named_parameters() if weight.grad is None]
    assert untouched == []


def test_gradient_checkpointing_changes_nothing_but_memory():
    vqvae, batch = make_vqvae(), make_batch()
    model = make_transformer(dropout=0.2, drop_path=0.5, shared_adaln=True).train()
    task = TransformerTask(model, vqvae)
    found = []
    for model.gradient_checkpointing in (False, True):
        saved = 0

        def count(tensor):
            nonlocal saved
            saved += tensor.numel()
            return tensor

        model.zero_grad()
        torch.manual_seed(7)
        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            loss, _ = task.loss(model, batch, generator())
        loss.backward()
        found.append((loss, {name: weight.grad.clone() for name, weight in model.named_parameters()}, saved))
    (loss, gradients, kept), (same_loss, same_gradients, less) = found
    assert torch.equal(loss, same_loss)
    assert all(torch.equal(gradient, same_gradients[name]) for name, gradient in gradients.items())
    assert less < kept / 2


def test_under_autocast_the_tokenizer_keeps_its_precision():
    vqvae, model, batch = make_vqvae(), make_transformer(), make_batch()
    task = TransformerTask(model, vqvae)
    exact = task.tokens_and_inputs(batch, generator())
    with torch.autocast("cpu", torch.bfloat16):
        found = task.tokens_and_inputs(batch, generator())
    assert all(torch.equal(a, b) for a, b in zip(exact, found, strict=True))
