"""Training on images that show vectors, through both recipes: gradients, drop, token caches, whole runs."""

import json
from dataclasses import replace

import pytest
import torch
from processes import start_pair
from tiny import spread, tiny_transformer, tiny_vqvae, unet_config
from vector_runs import (
    ATTENDING,
    COUNT,
    TASKS,
    UNET,
    WAYS,
    WIDTH,
    diffusion_task,
    losses,
    some_images,
    some_sequences,
    some_vectors,
    transformer_task,
)

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.job import DiffusionJob
from diffusion_baseline.presets import diffusion_run
from var import VARPipeline
from var.conditions import Condition
from var.data import WithVectors, without_images
from var.data.base import condition_size
from var.data.batches import Batch, batches
from var.errors import UserError
from var.recipes.fine_tuning import Start, with_classes
from var.recipes.transformer.job import TransformerJob
from var.recipes.transformer.presets import transformer_run
from var.recipes.transformer.token_cache import TokenCache
from var.runs.carrying_out import carry_out
from var.runs.folder import RunFolder
from var.runs.held_out import held_out
from var.runs.session import Session
from var.runs.settings import EvaluationSettings
from var.training import TrainingConfig, train
from var.training.distributed import Processes
from var.training.signals import StopSignals

QUIET = {"output_type": "pt", "progress": False, "seeds": [0, 1, 2]}


@pytest.fixture(scope="module")
def images():
    return some_images()


@pytest.fixture(scope="module")
def vectors():
    return some_vectors()


@pytest.fixture(scope="module")
def data(images, vectors):
    return WithVectors(images, vectors)


@pytest.mark.parametrize("kind", TASKS)
def test_every_weight_of_the_attention_to_texts_learns(kind, images):
    task = TASKS[kind](num_classes=0, **ATTENDING[kind] | {"vector_width": 0})
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    config = TrainingConfig(steps=3, batch_size=8, seed=0, accumulation=2, learning_rate=1e-2)
    train(task, WithVectors(images, None, labels=False, **some_sequences()), config, progress=False, device="cpu")
    after = task.model.state_dict()
    own = [name for name in before if ".cross." in name or ".sequence." in name]
    assert len(own) > 6
    assert all(not torch.equal(before[name], after[name]) for name in own)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("changes", [{}, {"num_classes": 0}], ids=["both", "alone"])
def test_every_weight_of_the_embedding_learns(kind, changes, images, vectors):
    task = TASKS[kind](**changes)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    config = TrainingConfig(steps=3, batch_size=8, seed=0, accumulation=2, learning_rate=1e-2)
    train(task, WithVectors(images, vectors, labels=not changes), config, progress=False, device="cpu")
    after = task.model.state_dict()
    own = [name for name in before if ".vector." in name]
    assert len(own) == 3
    assert all(not torch.equal(before[name], after[name]) for name in own)


@pytest.mark.parametrize("kind", TASKS)
@pytest.mark.parametrize("changes", [{}, {"num_classes": 0}], ids=["both", "alone"])
@pytest.mark.parametrize("drop", [0.0, 1.0])
def test_every_parameter_has_a_gradient_whatever_is_dropped(kind, changes, drop, data):
    """Several processes need one from each of them in every step."""
    task = TASKS[kind](label_drop=drop, **changes)
    spread(task.model)
    batch = next(batches(data, 8, seed=0))
    if changes:
        batch = Batch(batch.images, replace(batch.condition, labels=None), batch.indices)
    loss, _ = task.loss(task.model, batch, torch.Generator().manual_seed(0))
    loss.backward()
    assert all(parameter.grad is not None for parameter in task.model.parameters())
    embedding = task.model.class_embedding if kind == "transformer" else task.model.label
    assert bool(embedding.vector.linear.weight.grad.any())
    assert bool(embedding.vector.null.grad.any()) == (drop == 1)
    moved = embedding.weight.grad.any(dim=1).nonzero().flatten().tolist()
    null = len(embedding.weight) - 1
    assert moved == ([null] if changes or drop else batch.labels.unique().tolist())


def test_two_processes_train_like_one(forker, tmp_path):
    one_of_two = "vector_runs.train_as_one_of_two"
    statuses, _ = start_pair(forker, one_of_two, tmp_path / "output", folder=str(tmp_path))
    assert statuses == [0, 0], "".join((tmp_path / f"output-{rank}").read_text() for rank in range(2))
    found = [json.loads((tmp_path / f"losses-{rank}.json").read_text()) for rank in range(2)]
    assert found[0] == found[1]
    alone = {kind: losses(kind, accumulation=2) for kind in TASKS}
    for name, (kind, _) in WAYS.items():
        assert found[0][name] == pytest.approx(alone[kind], rel=1e-4), name


@pytest.mark.parametrize("kind", TASKS)
def test_what_is_dropped_is_trained_as_nothing(kind, data):
    task = TASKS[kind](label_drop=1.0)
    spread(task.model)
    batch = next(batches(data, 8, seed=0))
    nothing = Batch(batch.images, Condition.nothing(8, WIDTH), batch.indices)
    losses = [task.loss(task.model, each, torch.Generator().manual_seed(0))[0] for each in (batch, nothing)]
    assert torch.equal(*losses)
    kept = TASKS[kind](label_drop=0.0)
    spread(kept.model)
    assert kept.loss(kept.model, batch, torch.Generator().manual_seed(0))[0] != losses[0]


def test_label_and_vector_are_dropped_together_at_their_rate():
    count = 20000
    condition = replace(Condition.of(torch.arange(count) % 5), vectors=torch.ones(count, 2))
    dropped = condition.dropped(0.1, torch.Generator().manual_seed(0))
    assert abs(int((~dropped.given).sum()) - 2000) < 4 * (count * 0.1 * 0.9) ** 0.5
    plain = Condition.of(torch.arange(count) % 5).dropped(0.1, torch.Generator().manual_seed(0))
    assert torch.equal(dropped.given, plain.given)  # the draws of before
    alone = Condition(None, condition.given, vectors=condition.vectors)
    assert torch.equal(alone.dropped(0.1, torch.Generator().manual_seed(0)).given, plain.given)


def test_a_cache_of_tokens_gives_the_vectors_of_its_images(data):
    plain = transformer_task(label_drop=0.0)
    cache = TokenCache.of(data, plain.vqvae, progress=False)
    cached = transformer_task(label_drop=0.0, cache=cache)
    cached.model.load_state_dict(plain.model.state_dict())
    one, other = next(batches(data, 8, seed=0)), next(batches(without_images(data), 8, seed=0))
    losses = (
        task.loss(task.model, batch, torch.Generator().manual_seed(0))[0]
        for task, batch in ((plain, one), (cached, other))
    )
    torch.testing.assert_close(*losses)


def test_data_without_vectors_are_refused_by_a_model_of_vectors(images):
    for task in (transformer_task(), diffusion_task()):
        with pytest.raises(UserError, match="of the width that the model takes, 6, got none"):
            train(task, images, TrainingConfig(steps=1, batch_size=8), progress=False, device="cpu")


def run_settings(run, **groups):
    quick = TrainingConfig(steps=2, batch_size=8, log_every=1)
    evaluation = EvaluationSettings(every=2, samples=10, grid=4, judge_steps=2)
    return replace(run, training=quick, evaluation=evaluation, **groups)


def transformer_job(data):
    torch.manual_seed(0)
    model = tiny_transformer(**condition_size(data)._asdict()).config
    settings = run_settings(transformer_run("digits"), transformer=model)
    return TransformerJob(settings=settings, data=data, vqvae=tiny_vqvae())


def diffusion_job(data):
    size = condition_size(data)
    unet = unet_config(**UNET | (ATTENDING["diffusion"] if size.sequence_width else {}) | size._asdict())
    settings = run_settings(diffusion_run("digits"), unet=unet, num_timesteps=8, sampling_steps=2)
    return DiffusionJob(settings=settings, data=data)


JOBS = {"transformer": (transformer_job, VARPipeline), "diffusion": (diffusion_job, DiffusionPipeline)}


@pytest.mark.parametrize("kind", JOBS)
@pytest.mark.parametrize(("labels", "texts"), [(True, some_sequences()), (False, {})], ids=["all", "alone"])
def test_a_whole_run(kind, labels, texts, images, vectors, tmp_path, capsys):
    """Plan, token cache, training, samples in between, saving; and the run knows its vectors again."""
    job_of, pipeline = JOBS[kind]
    data = WithVectors(images, vectors, labels=labels, **texts)
    session = Session(
        folder=RunFolder(tmp_path / "run"), processes=Processes("cpu"), progress=False, workers=0, trackers=()
    )
    job = job_of(data)
    assert job.plan(1).parameters > 0
    with StopSignals() as signals:
        carry_out(job, session, signals)
        assert "finished 2 steps" in capsys.readouterr().out
        pipe = pipeline.from_pretrained(tmp_path / "run")
        call = {"guidance_scale": 2.0, **QUIET}
        shown = data.condition(torch.arange(3))
        assert torch.equal(pipe(shown, **call).images, pipeline.from_pretrained(tmp_path / "run")(shown, **call).images)
        assert pipe.class_names == (images.classes if labels else ())
        carry_out(job_of(data), session, signals)
        assert "is a finished run" in capsys.readouterr().out
        with pytest.raises(UserError, match=r"holds a run with other settings: data\.fingerprint was"):
            carry_out(job_of(WithVectors(images, vectors + 1, labels=labels, **texts)), session, signals)


@pytest.mark.parametrize("kind", JOBS)
def test_the_data_say_what_the_model_takes(kind, images, data):
    job_of, _ = JOBS[kind]
    job = job_of(data)
    with pytest.raises(UserError, match=r"\.vector_width is given by the data, 0, got 6; leave it out"):
        replace(job, data=images)
    with pytest.raises(UserError, match=r"\.num_classes is given by the data, 0, got 5; leave it out"):
        replace(job, data=WithVectors(images, torch.zeros(COUNT, WIDTH), labels=False))


@pytest.mark.parametrize("labels", [True, False], ids=["both", "alone"])
def test_trained_weights_go_on_with_other_classes(labels, images, vectors):
    job = transformer_job(WithVectors(images, vectors, labels=labels))
    trained = spread(tiny_transformer(num_classes=5 * labels, vector_width=WIDTH))
    names = tuple("abcde"[: 5 * labels])
    start = Start(transformer=trained, vqvae=None, class_names=names)
    after = tuple("edx"[: 3 * labels])
    model, _ = with_classes(start, replace(job.settings.transformer, num_classes=len(after)), after)
    old, new = trained.state_dict(), model.state_dict()
    assert all(torch.equal(old[name], new[name]) for name in old if name != "class_embedding.weight")
    rows = [4, 3, 5, 5] if labels else [0]
    assert torch.equal(new["class_embedding.weight"], old["class_embedding.weight"][rows])
    plain = Start(transformer=tiny_transformer(), vqvae=None, class_names=None)
    with pytest.raises(UserError, match=r"transformer\.vector_width is fixed by the weights to start from, 0, got 6"):
        with_classes(plain, job.settings.transformer, names)


def test_held_out_images_need_vectors_as_well():
    from var.data import digits

    train_split = digits("train")
    with pytest.raises(UserError, match=r"\(10, 3, 0\), got \(10, 0, 0\); give them vectors too \(evaluation.every=0"):
        held_out("digits", WithVectors(train_split, torch.zeros(len(train_split), 3)))
