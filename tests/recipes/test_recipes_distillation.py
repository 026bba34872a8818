"""Distillation of guidance against its closed form, and as a run that starts from trained weights."""

import pytest
import torch
import torch.nn.functional as F
from tiny import spread, tiny_transformer, tiny_vqvae, transformer_config, vqvae_config

from var import VAR, VQVAE, VARPipeline
from var.cli import main
from var.conditions import Condition
from var.data.batches import Batch
from var.randomness import keyed_global_stream
from var.recipes.transformer.distillation import DistillationTask
from var.recipes.transformer.task import TransformerTask

LABELS = torch.tensor([0, 1, 2, 3, 4, 0])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def batch(labels=LABELS):
    images = torch.rand(len(labels), 1, 6, 6, generator=generator()) * 2 - 1
    return Batch(images, Condition.of(labels), torch.arange(len(labels)))


def distillation(*guidance):
    """The task at the start of a training, where the model is the reference."""
    torch.manual_seed(4)
    plain = TransformerTask(spread(tiny_transformer()), tiny_vqvae())
    reference = tiny_transformer()
    reference.load_state_dict(plain.model.state_dict())
    return DistillationTask(plain, reference, guidance)


def loss_of(task):
    return task.loss(task.model, batch(), generator())


def test_without_guidance_nothing_is_to_be_learned():
    loss, numbers = loss_of(distillation(1.0, 1.0, 1.0))
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert set(numbers) == {"loss_0", "loss_1", "loss_2"}


def test_the_loss_is_the_divergence_from_what_guidance_predicts():
    task = distillation(1.0, 2.0, 4.0)
    loss, numbers = loss_of(task)
    _, inputs = task.plain.tokens_and_inputs(batch(), generator())
    shown, null = (task.model(labels, inputs) for labels in (LABELS, torch.full_like(LABELS, 5)))
    parts = []
    for gamma, where in zip((1, 2, 4), (slice(0, 1), slice(1, 5), slice(5, 14)), strict=True):
        wanted = (null + gamma * (shown - null))[:, where].log_softmax(dim=-1)
        apart = F.kl_div(shown[:, where].log_softmax(dim=-1), wanted, log_target=True, reduction="none")
        parts.append(apart.sum(dim=-1))
    torch.testing.assert_close(loss, torch.cat(parts, dim=1).mean())
    torch.testing.assert_close(numbers["loss_2"], parts[2].mean().detach())


def test_learning_moves_the_model_to_the_guided_reference_which_stays():
    task = distillation(1.0, 2.0, 3.0)
    before = {name: weight.clone() for name, weight in task.reference.state_dict().items()}
    optimizer = torch.optim.Adam(task.model.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss, _ = loss_of(task)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 3
    assert all(torch.equal(weight, before[name]) for name, weight in task.reference.state_dict().items())
    assert all(weight.grad is None for weight in task.reference.parameters())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a pipeline for digits."""
    tokens = {"sides": (1, 2, 4), "vocabulary": 32}
    with keyed_global_stream("distillation"):
        pair = VQVAE(vqvae_config(**tokens)), spread(VAR(transformer_config(**tokens, num_classes=10)))
    VARPipeline(*pair, class_names=list("0123456789")).save_pretrained(folder := tmp_path_factory.mktemp("pipe"))
    return folder


def train(output, *others, preset="digits", **settings):
    quick = {"training.batch_size": 8, "training.log_every": 2, "evaluation.every": 0, "tokens.variants": 1}
    options = [part for each in {**quick, **settings}.items() for part in ("--set", "=".join(map(str, each)))]
    command = ["train", "transformer", "digits", "--preset", preset, "--output", str(output), *map(str, others)]
    return main([*command, "--quiet", "--device", "cpu", *options])


def test_a_run_fine_tunes_a_model_and_goes_on_as_if_uninterrupted(model, tmp_path):
    how = {"distilled_guidance": 3, "training.schedule": "constant", "training.warmup": 0}
    for name, steps in (("whole", (4,)), ("parts", (2, 4))):
        for count in steps:
            assert train(tmp_path / name, "--init", model, **how, **{"training.steps": count}) == 0
    start, whole, parts = (
        VARPipeline.from_pretrained(each) for each in (model, tmp_path / "whole", tmp_path / "parts")
    )
    weights = [each.transformer.state_dict() for each in (start, whole, parts)]
    assert all(torch.equal(weights[1][name], weight) for name, weight in weights[2].items())
    assert not all(torch.equal(weights[0][name], weight) for name, weight in weights[2].items())


@pytest.mark.parametrize("preset", ["emoji-32", "shapes-text-32"])
def test_what_a_preset_says_of_training_on_tokens_does_not_stand_in_the_way(preset, model, tmp_path):
    """emoji-32 smooths labels and looks at a part of the tokens, shapes-text-32 weighs maps: none is distillation's."""
    text = {"data.text": "", "data.class_labels": "true"} if preset == "shapes-text-32" else {}
    assert train(tmp_path / "run", "--init", model, "--plan", preset=preset, distilled_guidance=3, **text) == 0


def test_distillation_is_refused_without_weights(model, tmp_path, capsys):
    assert train(tmp_path / "run", "--vqvae", model, distilled_guidance=3) == 2
    assert "distilled_guidance=3 fine-tunes trained weights, got none; add --init MODEL" in capsys.readouterr().err
    assert train(tmp_path / "run", "--init", model, distilled_guidance=-1) == 2
    assert "distilled_guidance must be 0 or more, got -1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
