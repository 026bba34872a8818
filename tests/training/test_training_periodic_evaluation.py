"""Evaluations while training: on the averaged weights, without a trace in the training, the best weights kept."""

import json

import pytest
import torch
from training_runs import CONFIG, outcome, rich_run, stop_at
from training_tasks import Rich, make_data

from var.errors import UserError
from var.training import PeriodicEvaluation, TrainingConfig, train
from var.training.periodic_evaluation import best_so_far


def test_it_sees_the_averaged_weights_and_leaves_no_trace(tmp_path):
    _, bare = rich_run(tmp_path / "bare")
    seen = {}

    def look(step, model):
        torch.randn(3)  # from the global stream
        assert not torch.is_grad_enabled()
        assert not any(module.training for module in model.modules())
        seen[step] = {name: value.clone() for name, value in model.state_dict().items()}
        return {"judged": torch.rand(()).item()}

    before = torch.get_rng_state()
    task, result = rich_run(tmp_path / "seen", evaluate=PeriodicEvaluation(every=10, run=look))
    assert torch.equal(torch.get_rng_state(), before)
    assert outcome(tmp_path / "seen")[:2] == outcome(tmp_path / "bare")[:2]
    assert list(seen) == [10, 20, 24]
    for name, value in task.model.state_dict().items():
        assert torch.equal(seen[24][name], value)  # a run ends with the averaged weights
    assert not torch.equal(seen[10]["last.weight"], seen[20]["last.weight"])
    judged = [row for row in result.history if "judged" in row]
    assert [row["step"] for row in judged] == [10, 20, 24]
    assert len({row["judged"] for row in judged}) == 3  # keyed by the step
    assert [row for row in result.history if "judged" not in row] == bare.history
    logged = [json.loads(line) for line in (tmp_path / "seen" / "log.jsonl").read_text().splitlines()]
    assert logged == result.history


def test_a_frozen_part_in_eval_mode_stays_in_it(tmp_path):
    class Frozen(Rich):
        def __init__(self):
            super().__init__()
            self.modes = []

        def begin_step(self, step):
            self.modes.append((self.model.training, self.model.norm.training))
            self.model.norm.eval()

    task = Frozen()
    evaluation = PeriodicEvaluation(every=2, run=lambda step, model: {})
    train(task, make_data(), TrainingConfig(steps=4, batch_size=8), progress=False, device="cpu", evaluate=evaluation)
    assert task.modes == [(True, True), (True, False), (True, False), (True, False)]


def test_the_best_weights_are_kept_through_a_stop(tmp_path):
    numbers = {6: 3.0, 12: 1.0, 18: float("nan"), 24: 2.0}
    weights = {}

    def look(step, model):
        weights[step] = model.last.weight.clone()
        return {"distance": numbers[step]}

    evaluation = PeriodicEvaluation(every=6, run=look, best="distance")
    rich_run(tmp_path, evaluate=evaluation, hook=stop_at(14))
    assert best_so_far(tmp_path) == (12, 1.0)
    rich_run(tmp_path, evaluate=evaluation)
    assert best_so_far(tmp_path) == (12, 1.0)
    from safetensors.torch import load_file

    assert torch.equal(load_file(tmp_path / "best" / "model.safetensors")["last.weight"], weights[12])
    assert [path.name for path in (tmp_path / "best").iterdir()] == ["model.safetensors"]
    assert best_so_far(tmp_path / "step-24") is None


def test_a_signal_does_not_wait_for_an_evaluation_and_the_next_start_makes_up_for_it(tmp_path):
    seen = []

    def look(step, model):
        seen.append(step)
        return {"sum": float(model.last.weight.sum())}

    evaluation = PeriodicEvaluation(every=10, run=look)
    rich_run(tmp_path / "whole", evaluate=evaluation)
    seen.clear()
    rich_run(tmp_path / "parts", evaluate=evaluation, hook=stop_at(9))
    assert seen == []
    rich_run(tmp_path / "parts", evaluate=evaluation, hook=stop_at(23))  # which is the last step
    assert seen == [10, 20, 24]
    rich_run(tmp_path / "parts", evaluate=evaluation)
    assert seen == [10, 20, 24]
    assert outcome(tmp_path / "parts") == outcome(tmp_path / "whole")


def test_the_best_of_a_model_with_a_config_can_be_loaded(tmp_path):
    from var.evaluation.features.classifier import Classifier, ClassifierConfig
    from var.training import CheckpointPolicy

    class Task:
        def __init__(self):
            self.model = Classifier(
                ClassifierConfig(height=1, width=1, channels=4, num_classes=2, widths=(4,), strides=(1,))
            )

        def loss(self, model, batch, generator):
            return model.network(batch.images)[1].square().mean(), {}

    train(
        Task(),
        make_data(),
        TrainingConfig(steps=2, batch_size=8),
        progress=False,
        device="cpu",
        checkpoints=CheckpointPolicy(folder=tmp_path, every=2),
        evaluate=PeriodicEvaluation(every=1, run=lambda step, model: {"loss": -float(step)}, best="loss"),
    )
    assert Classifier.from_pretrained(tmp_path / "best").config.channels == 4


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match="1 step apart, got every=0"):
        PeriodicEvaluation(every=0, run=lambda step, model: {})
    evaluation = PeriodicEvaluation(every=2, run=lambda step, model: {"fd": 1.0}, best="fid")
    with pytest.raises(UserError, match="got 'fid'; did you mean 'fd'"):
        rich_run(tmp_path, evaluate=evaluation)
    assert CONFIG["steps"] > 2
