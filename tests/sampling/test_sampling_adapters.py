"""LoRA on both pipelines: as PEFT computes it, in PEFT's files, and away again bit for bit."""

import copy
import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_diffusion_pipeline, tiny_pipeline
from tiny_models import one_line

from var import VARPipeline
from var.data import open_data
from var.data.base import WrappedData
from var.data.batches import Batch
from var.recipes.transformer.task import TransformerTask
from var.training import TrainingConfig, train

TARGETS = {"transformer": ["qkv", "projection", "fc1", "fc2"], "unet": ["qkv", "project", "modulation"]}


def adapted(pipeline, seed=0, **options):
    """The pipeline, into whose model PEFT has put a LoRA with random matrices; and PEFT's model."""
    import peft  # with much of transformers: 3 s CPU in every process that collects tests

    model = getattr(pipeline, pipeline.adapted)
    settings = {"r": 3, "lora_alpha": 6, "target_modules": TARGETS[pipeline.adapted], **options}
    whole = peft.get_peft_model(model, peft.LoraConfig(**settings))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return whole


def weights(pipeline):
    return {name: each.clone() for name, each in getattr(pipeline, pipeline.adapted).state_dict().items()}


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def predicted(pipeline, model=None):
    """What the adapted model computes of fixed inputs."""
    model = model or getattr(pipeline, pipeline.adapted)
    draw = torch.Generator().manual_seed(1)
    labels = torch.tensor([0, 1])
    with torch.no_grad():
        if pipeline.adapted == "unet":
            return model(torch.randn(2, 1, 4, 8, generator=draw), torch.tensor([1, 3]), labels)
        return model(labels, torch.randn(2, 13, 4, generator=draw))


def unet_pipeline():
    return tiny_diffusion_pipeline(timesteps=4, attention_levels=(1,), head_width=8)


@pytest.fixture(params=[tiny_pipeline, unet_pipeline], ids=["var", "diffusion"])
def make(request):
    return request.param


@pytest.mark.parametrize("options", [{}, {"use_rslora": True, "lora_alpha": 5}])
def test_merged_is_what_peft_computes_and_unloading_brings_all_back(make, options, tmp_path):
    trained, pipeline = make(), make()
    before, plain = weights(pipeline), predicted(pipeline)
    adapted(trained, **options)
    wanted = predicted(trained)
    trained.save_lora_weights(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    pipeline.load_lora_weights(tmp_path)
    assert not torch.allclose(predicted(pipeline), plain, atol=0.05)
    torch.testing.assert_close(predicted(pipeline), wanted, rtol=1e-4, atol=1e-4)
    pipeline.unload_lora_weights()
    assert same(weights(pipeline), before)
    trained.fuse_lora()
    torch.testing.assert_close(predicted(trained), wanted, rtol=1e-4, atol=1e-4)
    assert weights(trained).keys() == before.keys()
    assert all(parameter.requires_grad for parameter in getattr(trained, trained.adapted).parameters())


def test_peft_reads_what_is_saved_and_the_other_way_round(make, tmp_path):
    trained, other, pipeline = make(), make(), make()
    whole = adapted(trained)
    trained.save_lora_weights(tmp_path / "ours")
    whole.save_pretrained(tmp_path / "theirs")
    ours, theirs = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("ours", "theirs"))
    assert same(ours, theirs)
    import peft

    read = peft.PeftModel.from_pretrained(getattr(other, other.adapted), tmp_path / "ours")
    torch.testing.assert_close(predicted(other, read), predicted(trained))
    pipeline.load_lora_weights(tmp_path / "theirs")
    torch.testing.assert_close(predicted(pipeline), predicted(trained), rtol=1e-4, atol=1e-4)
    pipeline.save_lora_weights(tmp_path / "again")
    assert same(load_file(tmp_path / "again/adapter_model.safetensors"), theirs)


def test_calls_draw_with_it_and_saving_keeps_it(make, tmp_path):
    trained, pipeline = make(), make()
    adapted(trained)
    trained.save_lora_weights(tmp_path / "lora")
    options = {"seeds": [1, 2], "output_type": "pt", "progress": False}
    plain = pipeline([0, 1], **options).images
    pipeline.load_lora_weights(tmp_path / "lora", scale=1.0)
    drawn = pipeline([0, 1], **options).images
    assert not torch.equal(drawn, plain)
    pipeline.save_pretrained(tmp_path / "merged")
    assert torch.equal(type(pipeline).from_pretrained(tmp_path / "merged")([0, 1], **options).images, drawn)
    copied = copy.deepcopy(pipeline)
    pipeline.unload_lora_weights()
    assert torch.equal(pipeline([0, 1], **options).images, plain)
    copied.unload_lora_weights()
    assert torch.equal(copied([0, 1], **options).images, plain)
    pipeline.load_lora_weights(tmp_path / "lora", scale=0.0)
    assert torch.equal(pipeline([0, 1], **options).images, plain)


def test_one_at_a_time_and_none_where_there_is_none(make, tmp_path):
    trained, pipeline = make(), make()
    save = partial(pipeline.save_lora_weights, tmp_path / "a")
    for missing in (pipeline.fuse_lora, pipeline.unload_lora_weights, save):
        with one_line(f"there must be a LoRA, got a {pipeline.adapted} without; call load_lora_weights"):
            missing()
    before = weights(trained)
    adapted(trained)
    with one_line(f"the {trained.adapted} has a LoRA; call fuse_lora"):
        trained.load_lora_weights(tmp_path)
    trained.save_lora_weights(tmp_path / "lora")
    trained.unload_lora_weights()
    assert same(weights(trained), before)
    trained.load_lora_weights(tmp_path / "lora")
    with one_line(f"the {trained.adapted} has a LoRA; call fuse_lora"):
        trained.load_lora_weights(tmp_path / "lora")
    trained.fuse_lora()
    with one_line("there must be a LoRA"):
        trained.unload_lora_weights()


@pytest.fixture
def saved(tmp_path):
    pipeline = tiny_pipeline()
    adapted(pipeline)
    pipeline.save_lora_weights(tmp_path / "lora")
    return tmp_path / "lora"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "LOHA"}, ".*'peft_type' must be 'LORA', got 'LOHA'"),
        ({"r": 2}, ".*matrices A and B of linear layers of VAR, but: .* has shape .3, 32. instead of .2, 32."),
        ({"r": 10**9}, ".*'r' must lie between 1 and 65536"),
        ({"r": None}, ".*'r' must be a whole number"),
        ({"lora_alpha": "x"}, ".*'lora_alpha' must be a finite number"),
        ({"use_dora": True}, ".*must say plain matrices of one rank, got use_dora = True; train it without"),
        ({"rank_pattern": {"fc1": 2}}, ".*got rank_pattern"),
        ({"use_rslora": "false"}, ".*'use_rslora' must be true or false, got 'false'"),
        ({"fan_in_fan_out": 0.0}, ".*got fan_in_fan_out = 0.0"),
        ({"init_lora_weights": 1}, ".*got init_lora_weights = 1"),
        ({"init_lora_weights": "pissa"}, ".*got init_lora_weights = 'pissa'"),
        ({"lora_alpha": 1e300}, "weights with a LoRA must be finite, got a scale of 1.0 for blocks.0"),
    ],
)
def test_another_config_is_refused(saved, change, message):
    path = saved / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    pipeline = tiny_pipeline()
    before = weights(pipeline)
    with one_line(message):
        pipeline.load_lora_weights(saved)
    assert same(weights(pipeline), before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda held: held.pop(sorted(held)[0]),
            ".*but: missing base_model.model.blocks.0.attention",
        ),
        (lambda held: held.update({"x": torch.ones(1)}), ".*but: unexpected x"),
        (
            lambda held: held.update({"base_model.model.blocks.9.mlp.fc1.lora_A.weight": torch.ones(3, 3)}),
            ".*unexpected base_model.model.blocks.9",
        ),
        (dict.clear, ".*must hold matrices of one layer or more, got none; train a LoRA"),
        (lambda held: next(iter(held.values())).fill_(torch.nan), ".*must be finite numbers, but holds NaN"),
    ],
)
def test_other_matrices_are_refused(saved, change, message):
    tensors = load_file(saved / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, saved / "adapter_model.safetensors")
    pipeline = tiny_pipeline()
    before = weights(pipeline)
    with one_line(message):
        pipeline.load_lora_weights(saved)
    assert same(weights(pipeline), before)


def test_what_is_in_training_is_not_drawn_from_in_silence(tmp_path):
    pipeline = tiny_pipeline()
    adapted(pipeline)
    with one_line("generation computes from weights alone .* merge what it adds into the weights"):
        pipeline([0], progress=False)
    with one_line("VAR must hold exactly the weights that its config says.*merge or remove what was added"):
        pipeline.save_pretrained(tmp_path / "a")


class Negatives(WrappedData):
    """A few pictures with all colours turned round."""

    def __init__(self, data, count):
        super().__init__(data)
        self.images = [-data.load(index) for index in range(count)]

    def __len__(self):
        return len(self.images)

    def load(self, index):
        return self.images[index]


def losses(task, batch):
    """In nats per token, of a batch, no label dropped."""
    with torch.no_grad():
        return task.loss(task.model, batch, torch.Generator().manual_seed(0))[0].item()


def test_a_hundredth_of_the_parameters_learns_another_look(tmp_path):
    import peft

    pipeline = VARPipeline.from_pretrained("next-scale/emoji")
    model, before = pipeline.transformer, weights(pipeline)
    data = Negatives(open_data("emoji", split="train", size=32), 8)
    task = TransformerTask(model, pipeline.vqvae, label_drop=0.0)
    look = Batch(torch.stack(data.images), data.condition(torch.arange(8)), torch.arange(8))
    usual = replace(look, images=-look.images)
    start = losses(task, look), losses(task, usual)
    peft.get_peft_model(model, peft.LoraConfig(r=2, lora_alpha=8, target_modules=["qkv", "fc1"]))
    trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    assert trained / sum(each.numel() for each in before.values()) < 0.01
    settings = TrainingConfig(steps=12, batch_size=8, learning_rate=2e-2, weight_decay=0.0, log_every=1)
    train(task, data, settings, device="cpu", progress=False)
    end = losses(task, look)
    assert end < start[0] - 2  # nats per token
    held = {name.replace(".base_layer", ""): each for name, each in weights(pipeline).items() if "lora_" not in name}
    assert same(held, before)
    pipeline.save_lora_weights(tmp_path)
    pipeline.fuse_lora()
    assert losses(task, look) == pytest.approx(end, abs=1e-4)
    again = VARPipeline.from_pretrained("next-scale/emoji")
    again.load_lora_weights(tmp_path)
    assert losses(replace(task, model=again.transformer), look) == pytest.approx(end, abs=1e-4)
    again.unload_lora_weights()
    assert same(weights(again), before)
    assert losses(replace(task, model=again.transformer), usual) == start[1]
