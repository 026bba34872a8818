"""Steps of a training that look at a part of the finest map."""

from dataclasses import replace

import pytest
import torch
from examined_runs import NOT_EVALUATED
from tiny import spread, tiny_transformer, tiny_vqvae, transformer_config
from torch.nn.attention import SDPBackend, sdpa_kernel

from var.command_line.frame import CommandParser
from var.commands.train import add_arguments
from var.conditions import Condition
from var.data.arrays import ArrayData
from var.data.batches import Batch
from var.errors import UserError
from var.recipes.transformer.job import TransformerJob, transformer_cost
from var.recipes.transformer.partial import PERIOD, PartialTask, part_of
from var.recipes.transformer.presets import transformer_run
from var.recipes.transformer.settings import TokenSettings, TransformerRun
from var.recipes.transformer.task import TransformerTask
from var.runs.cost import training_flops
from var.runs.folder import RunFolder
from var.runs.session import Session
from var.training import CheckpointPolicy, PeriodicTask, Task, TrainingConfig, train
from var.training.distributed import Processes

DIAGONALS = {"passes": (1, 1, 7), "order": "diagonal", "told": "neighbours"}
START, LENGTH = 5, 14  # of the finest map, and of all


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def make(images=6, **changes):
    torch.manual_seed(3)
    vqvae, model = tiny_vqvae(), spread(tiny_transformer(**changes))
    batch = Batch(torch.rand(images, 1, 6, 6) * 2 - 1, Condition.of(torch.arange(images) % 5), torch.arange(images))
    return TransformerTask(model, vqvae, label_drop=0.0), batch


class TestPart:
    # Images of none, one, four and nine tokens of the commonest code in their finest map.
    TOKENS = torch.tensor(
        [
            [0] * START + [1, 2, 3, 4, 5, 6, 8, 9, 3],
            [0] * START + [1, 2, 3, 4, 7, 6, 8, 9, 3],
            [0] * START + [7, 7, 3, 4, 5, 6, 7, 9, 7],
            [0] * START + [7] * 9,
        ]
    )

    @pytest.mark.parametrize("kept", [2, 3, 5, 8, 9])
    def test_so_many_tokens_are_looked_at_and_stand_for_all(self, kept):
        for seed in range(20):
            positions, weights = part_of(self.TOKENS, START, kept, generator(seed))
            assert positions.shape == weights.shape == (4, START + kept)
            assert torch.equal(positions[:, :START], torch.arange(START).expand(4, -1))
            assert (positions.diff(dim=1) > 0).all()
            torch.testing.assert_close(weights.sum(dim=1), torch.full((4,), float(LENGTH)))

    @pytest.mark.parametrize("kept", [2, 4, 9])
    def test_every_token_is_stood_for_once_on_average(self, kept):
        stood_for = torch.zeros(4, LENGTH)
        for seed in range(600):
            part = part_of(self.TOKENS, START, kept, generator(seed))
            stood_for.scatter_add_(1, part.positions, part.weights)
        torch.testing.assert_close(stood_for / 600, torch.ones(4, LENGTH), atol=0.35, rtol=0)

    def test_the_commonest_code_goes_first(self):
        _, weights = part_of(self.TOKENS, START, 6, generator())
        of = [sorted(row[START:].unique().tolist()) for row in weights]
        # Five others are all seen, and one of four that are alike; of eight others five are.
        assert of == [[1.5], pytest.approx([1.0, 1.6]), [1.0, 4.0], [1.5]]


class TestModel:
    @pytest.mark.parametrize("changes", [{}, DIAGONALS], ids=["one pass", "diagonals"])
    def test_all_positions_are_what_none_are(self, changes):
        task, batch = make(**changes)
        tokens, inputs = task.tokens_and_inputs(batch, generator())
        every = torch.arange(LENGTH).expand(len(tokens), -1)
        some = task.model(batch.condition, inputs, tokens, every)
        torch.testing.assert_close(some, task.model(batch.condition, inputs, tokens))

    @pytest.mark.parametrize("changes", [{}, DIAGONALS], ids=["one pass", "diagonals"])
    def test_what_is_left_out_is_not_seen(self, changes):
        task, batch = make(**changes)
        tokens, inputs = task.tokens_and_inputs(batch, generator())
        coarser = torch.arange(START).expand(len(tokens), -1)
        ended = task.model(batch.condition, inputs[:, : START - 1], tokens)
        torch.testing.assert_close(task.model(batch.condition, inputs, tokens, coarser), ended)
        positions = part_of(tokens, START, 4, generator()).positions
        before = task.model(batch.condition, inputs, tokens, positions)
        spoilt = torch.full((len(tokens), LENGTH), 1e3).scatter(1, positions, 0.0)[:, 1:, None]
        torch.testing.assert_close(task.model(batch.condition, inputs + spoilt, tokens, positions), before)

    def test_each_image_has_positions_of_its_own(self):
        task, batch = make(**DIAGONALS)
        tokens, inputs = task.tokens_and_inputs(batch, generator())
        positions = part_of(tokens, START, 4, generator()).positions
        together = task.model(batch.condition, inputs, tokens, positions)
        for image in range(len(tokens)):
            one = slice(image, image + 1)
            alone = task.model(Condition.of(batch.labels[one]), inputs[one], tokens[one], positions[one])
            torch.testing.assert_close(alone, together[one])


class TestTask:
    def test_a_part_of_all_tokens_has_the_loss_of_all(self):
        plain, batch = make(**DIAGONALS)
        plain = replace(plain, map_weights=(3.0, 0.5, 1.0))
        partial = PartialTask(plain, kept=9)
        partial.begin_step(0)
        loss, numbers = partial.loss(plain.model, batch, generator())
        whole, same = plain.loss(plain.model, batch, generator())
        torch.testing.assert_close(loss, whole)
        assert {name: float(value) for name, value in numbers.items()} == pytest.approx(
            {name: float(value) for name, value in same.items()}
        )

    def test_every_fifth_step_looks_at_all(self):
        plain, batch = make()
        partial = PartialTask(plain, kept=3)
        whole = plain.loss(plain.model, batch, generator())[0]
        same = []
        for step in range(2 * PERIOD):
            partial.begin_step(step)
            same.append(bool(partial.loss(plain.model, batch, generator())[0] == whole))
        assert same == [False, False, False, False, True] * 2

    def test_without_attention_among_tokens_the_loss_is_that_of_all_on_average(self):
        plain, batch = make()
        plain.model.mask.copy_(torch.eye(LENGTH, dtype=torch.bool))
        partial = PartialTask(plain, kept=3)
        partial.begin_step(0)
        with torch.no_grad():
            drawn = torch.stack([partial.loss(plain.model, batch, generator(seed))[0] for seed in range(60)])
            whole, _ = plain.loss(plain.model, batch, generator())
        assert abs(drawn.mean() - whole) < 3 * drawn.std() / 60**0.5

    def test_its_operations_are_those_of_a_period(self):
        plain, batch = make(images=8)
        partial = PartialTask(plain, kept=3)
        assert isinstance(partial, Task)
        assert isinstance(partial, PeriodicTask)
        data = ArrayData(batch.images, batch.labels, classes=[str(label) for label in range(5)])
        config = TrainingConfig(steps=10, batch_size=8)
        with sdpa_kernel(SDPBackend.MATH):
            partly, wholly = (training_flops(task, data, config) for task in (partial, plain))
        expected = [transformer_cost(plain.model.config, looked_at=some).flops for some in (3, 0)]
        assert wholly - partly == pytest.approx(80 * (expected[1] - expected[0]), rel=0.02)

    def test_a_resumed_training_goes_on_with_the_steps_that_were_due(self, tmp_path):
        ends = []
        for breaks in (False, True):
            plain, batch = make(images=8)
            data = ArrayData(batch.images, batch.labels, classes=[str(label) for label in range(5)])
            config = TrainingConfig(steps=7, batch_size=4)
            how = {"checkpoints": CheckpointPolicy(folder=tmp_path / str(breaks), every=2), "progress": False}
            if breaks:
                with pytest.raises(InterruptedError):
                    train(Breaking(plain, kept=3), data, config, **how)
            train(PartialTask(plain, kept=3), data, config, **how)
            ends.append(plain.model.state_dict())
        assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


class TestJob:
    @pytest.mark.parametrize(("kept", "task"), [(0, TransformerTask), (3, PartialTask)])
    def test_trains_by_what_its_settings_say(self, tmp_path, kept, task):
        plain, batch = make(images=8)
        data = ArrayData(batch.images, batch.labels, classes=[str(label) for label in range(5)])
        settings = TransformerRun(
            training=TrainingConfig(steps=1),
            tokens=TokenSettings(kept=kept, cached=False),
            transformer=transformer_config(),
            evaluation=NOT_EVALUATED,
        )
        folder = RunFolder(tmp_path / "run")
        session = Session(folder=folder, processes=Processes("cpu"), progress=False, workers=0, trackers=())
        found = TransformerJob(settings=settings, data=data, vqvae=plain.vqvae).prepare(session).task
        assert type(found) is task
        assert getattr(found, "kept", 0) == kept

    def test_a_tokenizer_of_other_maps_leaves_nothing_out(self, tmp_path):
        own = {"sides": (1, 2, 4, 8), "in_channels": 3, "channel_multipliers": (1, 1, 1)}
        tiny_vqvae(**own).save_pretrained(tmp_path / "tokenizer")
        words = ["transformer", "shapes", "--preset", "shapes-text-32", "--vqvae", str(tmp_path / "tokenizer")]
        words += ["--output", str(tmp_path / "run"), "--set", "data.text=", "--set", "data.class_labels=true"]
        parser = CommandParser(prog="train")
        add_arguments(parser)
        settings = TransformerJob.of(parser.parse_args(words)).settings
        assert (transformer_run("shapes-text-32").tokens.kept, settings.tokens.kept) == (24, 0)
        assert settings.map_weights == ()


class Breaking(PartialTask):
    """Breaks at the fourth step."""

    def begin_step(self, step):
        if step == 3:
            raise InterruptedError
        super().begin_step(step)


@pytest.mark.parametrize(
    ("kept", "changes", "complaint"),
    [
        (10, {}, "tokens.kept must be 2 to 9, the tokens of the finest map, got 10"),
        (1, {}, "tokens.kept must be 2 to 9, the tokens of the finest map, got 1"),
        (3, {"distilled_guidance": 2.0}, "got distilled_guidance=2 too; leave one of them out"),
    ],
)
def test_parts_that_cannot_be_are_refused(kept, changes, complaint):
    settings = {"training": TrainingConfig(steps=1), "transformer": transformer_config(), **changes}
    with pytest.raises(UserError, match=complaint):
        TransformerRun(tokens=TokenSettings(kept=kept), **settings)
