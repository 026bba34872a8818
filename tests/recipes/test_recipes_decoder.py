"""Training of the decoder on drawn tokens: its loss, the tokens, and its run from the command line to a picture."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import yaml
from grey_pyramid import GreyConfig, GreyPyramid
from small_pictures import picture
from tiny import tiny_pipeline, tiny_vqvae
from tiny_text import LetterEncoder
from torch.utils.flop_counter import FlopCounterMode

from var import VARPipeline
from var.cli import main
from var.conditions import Condition
from var.data import ArrayData, open_data
from var.data.batches import Batch
from var.errors import UserError
from var.generation.sampling_settings import SamplingSettings
from var.randomness import keyed_seed
from var.recipes.decoder.job import DecoderJob
from var.recipes.decoder.losses import DecoderLosses
from var.recipes.decoder.presets import PRESETS, decoder_run
from var.recipes.decoder.task import DecoderTask
from var.recipes.transformer.token_cache_files import tokenizer_digest
from var.recipes.vqvae.gan_losses import generator_loss
from var.runs.cost import training_flops
from var.runs.folder import RunFolder
from var.runs.overrides import settings_from_dict, settings_to_dict
from var.runs.session import Session
from var.runs.settings import DataSettings, EvaluationSettings
from var.sampling.record import read_record
from var.terms import Terms
from var.training import TrainingConfig, train
from var.training.checkpoints import CheckpointWriter
from var.training.distributed import Processes

SIDES = (1, 2, 4)  # of images of 8 pixels, such as digits
LOSSES = DecoderLosses(patch_channels=4, patch_layers=1, augmentations=())


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def some_batch():
    images = torch.rand(4, 1, 8, 8, generator=generator()) * 2 - 1
    return Batch(images, Condition.of(torch.arange(4)), torch.arange(4))


def drawn_task(losses=LOSSES):
    torch.manual_seed(1)
    vqvae = tiny_vqvae(sides=SIDES)
    return DecoderTask(vqvae, torch.randint(16, (6, 21), generator=generator(3)), losses)


def weights(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def moved(module, before):
    """The names of the weights that are not what they were."""
    return [name for name, value in module.state_dict().items() if not torch.equal(value, before[name])]


class TestTask:
    def test_only_the_decoder_learns(self):
        task = drawn_task()
        vqvae, whole = task.tokenizer, some_batch()
        before, tokens, digest = weights(vqvae), vqvae.encode(whole.images), tokenizer_digest(vqvae)
        data = ArrayData(whole.images, [0, 1, 2, 3], layout="channels_first")
        config = TrainingConfig(steps=3, batch_size=4, learning_rate=1e-2, ema_decay=0.5)
        train(task, data, config, progress=False, device="cpu")
        changed = moved(vqvae, before)
        assert {name.split(".")[0] for name in changed} == {"decoder", "post_quant_conv"}
        assert len(changed) == len(task.model.state_dict())
        assert all(torch.equal(new, old) for new, old in zip(vqvae.encode(whole.images), tokens, strict=True))
        assert tokenizer_digest(vqvae) == digest
        assert not any(weight.requires_grad for weight in vqvae.encoder.parameters())

    def test_the_loss_is_that_of_reconstructions_and_of_drawn_images(self):
        """In closed form, with a decoder that has moved."""
        losses = replace(LOSSES, adversarial=0.3)
        task, whole = drawn_task(losses), some_batch()
        with torch.no_grad():
            task.model[0].weight.add_(0.1)
        task.begin_step(0)
        loss, _ = task.loss(task.model, whole, generator(5))
        rows = torch.randint(6, (4,), generator=generator(5))
        maps = task.tokenizer.scales.split(task.drawn[rows])
        made = task.tokenizer.decode(maps)
        latent = task.tokenizer.accumulate(task.tokenizer.encode(whole.images))[-1]
        reconstruction = F.mse_loss(task.model(latent), whole.images)
        judged = generator_loss(task.opponent(made), "hinge")
        torch.testing.assert_close(loss, reconstruction + 0.3 * judged)

    def test_the_discriminator_tells_drawn_images_from_real_ones(self):
        task, whole, seen = drawn_task(), some_batch(), []
        task.begin_step(0)
        task.loss(task.model, whole, generator(5))
        task.opponent.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach().clone()))
        task.opponent_loss(task.opponent, whole, generator())
        real, shown = seen[0].chunk(2)
        rows = torch.randint(6, (4,), generator=generator(5))
        assert torch.equal(real, whole.images)
        torch.testing.assert_close(shown, task.tokenizer.decode(task.tokenizer.scales.split(task.drawn[rows])))

    def test_gradients_are_compared_at_the_last_layer(self):
        task = drawn_task()
        assert task._last_layer is task.tokenizer.decoder.conv_out.weight

    def test_a_tokenizer_that_decodes_without_weights_is_refused(self):
        with pytest.raises(UserError, match="must have weights, got none in a GreyPyramid"):
            DecoderTask(GreyPyramid(GreyConfig()), torch.zeros(1, 85, dtype=torch.long), LOSSES)

    def test_what_has_no_meaning_is_refused(self):
        with pytest.raises(UserError, match=r"adversarial must be above 0, got 0; 0\.05 is usual"):
            DecoderLosses(adversarial=0.0)

    def test_operations_of_a_training_are_those_of_both_opponents(self):
        whole = some_batch()
        data = ArrayData(whole.images, [0, 1, 2, 3], layout="channels_first")
        config = TrainingConfig(steps=10, batch_size=4)
        silent = replace(LOSSES, adversarial_start=6)  # beyond the middle
        task = drawn_task()
        task.begin_step(0)
        with FlopCounterMode(display=False) as counter:
            loss, _ = task.loss(task.model, whole, generator())
            loss.backward()
            task.opponent_loss(task.opponent, whole, generator())[0].backward()
        assert training_flops(drawn_task(), data, config) == 10 * counter.get_total_flops()
        assert training_flops(drawn_task(silent), data, config) < 10 * counter.get_total_flops()


QUICK = {
    "training.steps": 4,
    "training.batch_size": 8,
    "training.log_every": 2,
    "evaluation.every": 2,
    "evaluation.samples": 10,
    "evaluation.grid": 4,
    "evaluation.judge_steps": 2,
    "checkpoints.every": 2,
    "losses.patch_channels": 4,
    "losses.patch_layers": 1,
    "samples": 20,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The folder of a pipeline for digits, which says how it is sampled and what it was trained on."""
    pipeline = tiny_pipeline(sides=SIDES, num_classes=10, class_names=[*"0123456789"])
    pipeline.sampling, pipeline.terms = SamplingSettings(guidance_scale=2.0), Terms("CC0", "Written by hand.")
    pipeline.save_pretrained(folder := tmp_path_factory.mktemp("pipe"))
    return folder


def run(output, *others, data="digits", **settings):
    options = [part for each in {**QUICK, **settings}.items() for part in ("--set", "=".join(map(str, each)))]
    words = ["train", "decoder", str(data), "--preset", "emoji-32", "--output", str(output), *map(str, others)]
    return main([*words, "--quiet", "--device", "cpu", *options])


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory):
    """The folder of a run that nobody disturbed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert run(folder, "--init", model) == 0
    return folder


class TestRun:
    def test_it_leaves_the_model_with_another_decoder(self, model, finished):
        start, found = (VARPipeline.from_pretrained(each) for each in (model, finished))
        assert not moved(found.transformer, weights(start.transformer))
        changed = moved(found.vqvae, weights(start.vqvae))
        assert {name.split(".")[0] for name in changed} == {"decoder", "post_quant_conv"}
        assert (found.class_names, found.sampling) == (start.class_names, start.sampling)
        assert found.terms == Terms.joined((start.terms, Terms.of(open_data("digits", split="train"))))
        how = {"seeds": [0, 1], "output_type": "pt", "progress": False}
        mine, before = found([3, 7], **how), start([3, 7], **how)
        assert all(torch.equal(new, old) for new, old in zip(mine.tokens, before.tokens, strict=True))
        assert not torch.equal(mine.images, before.images)
        told = yaml.safe_load((finished / "run.yaml").read_text())
        assert (told["run"]["kind"], told["drawing"]["guidance_scale"]) == ("decoder", 2.0)

    def test_averaged_weights_are_judged_as_they_are_left(self, finished):
        rows = [json.loads(line) for line in (finished / "log.jsonl").read_text().splitlines()]
        scored = [row for row in rows if "fd_digits" in row]
        assert [row["step"] for row in scored] == [2, 4]
        assert {path.name for path in (finished / "samples").iterdir()} >= {
            "step-000004.png",
            "step-000004-reconstructions.png",
        }
        pipeline, images = VARPipeline.from_pretrained(finished), open_data("digits", split="test").images
        images = images[torch.linspace(0, len(images) - 1, 10).long()]
        error = (pipeline.vqvae.reconstruct(images) - images).square().mean().item()
        assert scored[-1]["squared_error"] == pytest.approx(error, rel=1e-5)

    def test_a_killed_run_ends_with_the_same_bits(self, model, finished, tmp_path, monkeypatch):
        finish = CheckpointWriter.finish

        def killed(*arguments, **named):
            finish(*arguments, **named)
            raise KeyboardInterrupt

        monkeypatch.setattr(CheckpointWriter, "finish", killed)
        assert run(tmp_path / "run", "--init", model) == 130
        assert not (tmp_path / "run" / "finished.json").exists()
        monkeypatch.setattr(CheckpointWriter, "finish", finish)
        assert run(tmp_path / "run", "--init", model) == 0
        files = sorted(path.relative_to(finished) for path in finished.rglob("*.safetensors"))
        assert len(files) > 8
        for file in files:
            assert (tmp_path / "run" / file).read_bytes() == (finished / file).read_bytes(), file
        assert (tmp_path / "run" / "log.jsonl").read_text() == (finished / "log.jsonl").read_text()

    def test_pictures_are_drawn_with_it(self, finished, tmp_path):
        words = ["generate", "--model", str(finished), "--classes", "3", "--seeds", "0", "--device", "cpu", "--quiet"]
        assert main([*words, "--output", str(tmp_path / "drawn")]) == 0
        assert read_record(tmp_path / "drawn" / "0.png")["guidance_scale"] == 2.0

    def test_a_transformer_is_trained_on_from_it(self, finished, tmp_path):
        options = ("training.steps=2", "training.batch_size=4", "evaluation.every=0", "tokens.variants=1")
        words = ["train", "transformer", "digits", "--preset", "digits", "--init", str(finished), "--device", "cpu"]
        words += ["--output", str(tmp_path / "run"), "--quiet", *(word for each in options for word in ("--set", each))]
        assert main(words) == 0
        mine, other = (VARPipeline.from_pretrained(folder).vqvae for folder in (finished, tmp_path / "run"))
        assert not moved(mine, weights(other))

    def test_the_plan_draws_nothing(self, model, tmp_path, capsys):
        assert run(tmp_path / "run", "--init", model, "--plan") == 0
        text = capsys.readouterr().out
        pipeline = VARPipeline.from_pretrained(model)
        decoding = torch.nn.ModuleList(pipeline.vqvae.decoding())
        decoder, whole = (sum(weight.numel() for weight in part.parameters()) for part in (decoding, pipeline.vqvae))
        for line in (
            f"decoder            {decoder:,} parameters",
            f"encoder and codes  {whole - decoder:,} parameters, frozen",
            "tokens of 20 images are drawn once",
        ):
            assert line in text
        assert not (tmp_path / "run").exists()

    def test_the_planned_cost_is_that_of_a_step(self, model):
        """But for the penalty on the discriminator's gradient, which no plan counts."""
        settings = decoder_run("emoji-32")
        settings = replace(settings, losses=replace(LOSSES, r1=0.0), training=TrainingConfig(steps=1, batch_size=4))
        data, start = open_data("digits", split="train"), VARPipeline.from_pretrained(model)
        planned = DecoderJob(settings=settings, data=data, start=start).plan(1).image_cost
        task = DecoderTask(start.vqvae, torch.randint(16, (6, 21)), settings.losses)
        assert 4 * planned.flops == pytest.approx(training_flops(task, data, settings.training), rel=0.03)


@pytest.mark.parametrize(
    ("message", "settings", "data", "has_start"),
    [
        ("a decoder is trained after its transformer, got none; add --init MODEL", {}, "digits", False),
        ("num_classes=9, got num_classes=10; give the data that it was trained on", {}, "emoji?labels=category", True),
        ("needs images of 16 pixels or more, got 8x8; lower patch_layers", {"losses.patch_layers": 2}, "digits", True),
        ("adversarial must be above 0, got 0", {"losses.adversarial": 0}, "digits", True),
        ("guidance_scale", {"drawing.guidance_scale": "[1,2]"}, "digits", True),
        ("samples must be at least 1, got 0", {"samples": 0}, "digits", True),
        ("unknown setting", {"sample": 3}, "digits", True),
    ],
)
def test_mistakes_are_told_in_a_line_before_anything_is_kept(
    message, settings, data, has_start, model, tmp_path, capsys
):
    assert run(tmp_path / "run", *(["--init", model] if has_start else []), data=data, **settings) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_run_that_is_not_finished_is_refused(finished, tmp_path, capsys):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "run.yaml").write_text((finished / "run.yaml").read_text())
    assert run(tmp_path / "run", "--init", tmp_path / "begun") == 2
    assert "must be finished to be used, but it is not; start it again to its end" in capsys.readouterr().err


@pytest.mark.parametrize("names", [("bee", "ant"), ("ant", "cat")])
def test_classes_in_another_order_and_other_classes_are_refused(names):
    start = tiny_pipeline(sides=SIDES, num_classes=2, class_names=["ant", "bee"])
    how = {"settings": replace(decoder_run("emoji-32"), losses=LOSSES), "start": start}
    images = torch.zeros(2, 1, 8, 8)
    with pytest.raises(UserError, match=f"in its order, ant, bee, got {', '.join(names)}; give the data that it was"):
        DecoderJob(data=ArrayData(images, [0, 1], names), **how)
    for right in (("ant", "bee"), ("0", "1")):  # numbers are no names
        DecoderJob(data=ArrayData(images, [0, 1], right), **how)


class TestTexts:
    @pytest.fixture
    def job(self, tmp_path):
        """Of images with captions, and a pipeline that reads letters."""
        for index in range(6):
            path = picture(tmp_path / "data" / ("ant", "bee")[index % 2] / f"{index}.png", 20 * index, 8)
            path.with_suffix(".txt").write_text("abcdef"[: index + 1])
        start = tiny_pipeline(sides=SIDES, num_classes=0, vector_width=6)
        start.text_encoder = LetterEncoder()
        source = DataSettings(source=str(tmp_path / "data"), text="letters", class_labels=False)
        settings = replace(decoder_run("emoji-32"), data=source, losses=LOSSES, samples=6)
        data = open_data(tmp_path / "data", size=8, channels=1, captions=True)
        return DecoderJob(settings=settings, data=data, start=start, encoder=LetterEncoder())

    def test_its_captions_are_told_and_the_encoder_is_saved(self, job, tmp_path):
        job = replace(job, settings=replace(job.settings, evaluation=EvaluationSettings(every=0)))
        folder = RunFolder(tmp_path / "run")
        session = Session(folder=folder, processes=Processes("cpu"), progress=False, workers=0, trackers=())
        task = job.prepare(session).task
        caption = job.data.captions[4]
        how = {"seeds": [keyed_seed("drawn", 0, 4)], "output_type": "pt", "progress": False}
        wanted = job.start(prompt=caption, sampling=job.settings.drawing, **how).tokens
        assert torch.equal(task.drawn[4], job.start.vqvae.scales.flatten(wanted)[0])
        job.save(task, tmp_path / "model")
        told = VARPipeline.from_pretrained(tmp_path / "model").settings()["text_encoder"]
        assert told == {"name": "letters", "digest": LetterEncoder().digest}

    def test_another_encoder_is_refused(self, job):
        other = LetterEncoder(name="others")
        settings = replace(job.settings, data=replace(job.settings.data, text="others"))
        with pytest.raises(UserError, match=r"data\.text is fixed by the weights to start from, 'letters'"):
            replace(job, settings=settings, encoder=other)


def test_a_job_can_be_prepared_again_after_its_training(model, tmp_path):
    """As a comparison does, to count what was done: the tokens are those that are there."""
    settings = decoder_run("emoji-32")
    training = replace(settings.training, steps=2, batch_size=8)
    settings = replace(settings, losses=LOSSES, samples=6, training=training, evaluation=EvaluationSettings(every=0))
    start = VARPipeline.from_pretrained(model)
    job = DecoderJob(settings=settings, data=open_data("digits", split="train"), start=start)
    session = Session(folder=RunFolder(tmp_path), processes=Processes("cpu"), progress=False, workers=0, trackers=())
    first = job.prepare(session)
    train(first.task, first.data, training, progress=False, device="cpu")
    again = job.prepare(session).task
    assert torch.equal(first.task.drawn, again.drawn)
    assert moved(first.task.model, weights(again.model))
    assert not moved(again.tokenizer, weights(VARPipeline.from_pretrained(model).vqvae))


@pytest.mark.parametrize("name", PRESETS)
def test_all_presets_return_from_a_run_file(name):
    chosen = decoder_run(name)
    assert settings_from_dict(type(chosen), settings_to_dict(chosen)) == chosen


def test_an_unknown_preset_is_answered_with_the_nearest_ones():
    with pytest.raises(UserError, match="unknown decoder preset 'emoji'; did you mean 'emoji-64' or 'emoji-32'"):
        decoder_run("emoji")
