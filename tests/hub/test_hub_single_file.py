"""A pipeline as one file: it comes back bit for bit, and what is wrong in the file is refused before its data."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tiny import tiny_diffusion_pipeline, tiny_pipeline
from tiny_models import Pair, assert_same_weights, one_line

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.cascade import CascadePipeline
from var import VARPipeline

NAMES = ["ant", "bee", "cat, felis catus", "dog", "eel"]


def contents(path):
    with safe_open(path, "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def rewritten(path, change):
    """The file with other words in its header, or other tensors."""
    metadata, tensors = contents(path)
    document = json.loads(metadata["next-scale"])
    change(document, tensors)
    save_file(tensors, path, {"next-scale": json.dumps(document)})


@pytest.mark.parametrize(
    ("make", "cls"),
    [
        (lambda: tiny_pipeline(class_names=NAMES), VARPipeline),
        (lambda: tiny_diffusion_pipeline(class_names=NAMES), DiffusionPipeline),
    ],
)
def test_both_paradigms_come_back_and_draw_the_same(make, cls, tmp_path):
    pipeline = make()
    pipeline.save_single_file(tmp_path / "all.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["all.safetensors"]
    back = cls.from_single_file(tmp_path / "all.safetensors", device_map="cpu")
    options = {"seeds": [1, 2], "output_type": "pt", "progress": False}
    assert torch.equal(back("bee", **options).images, pipeline("bee", **options).images)
    assert back.settings() == pipeline.settings()
    half = cls.from_single_file(str(tmp_path / "all.safetensors"), torch_dtype="bf16")
    assert {each.dtype for part in half.models().values() for each in part.parameters()} == {torch.bfloat16}


def test_names_say_the_part_and_the_header_the_rest(pipeline, tmp_path):
    pipeline.save_single_file(tmp_path / "a.safetensors")
    metadata, tensors = contents(tmp_path / "a.safetensors")
    wanted = {f"{name}.{key}" for name, part in pipeline.models().items() for key in part.state_dict()}
    assert tensors.keys() == wanted
    document = json.loads(metadata.pop("next-scale"))
    assert not metadata
    pipeline.save_pretrained(tmp_path / "folder")
    configs = document.pop("configs")
    assert document == json.loads((tmp_path / "folder/pipeline_index.json").read_text())
    assert configs == {name: json.loads((tmp_path / "folder" / name / "config.json").read_text()) for name in configs}


def test_pipelines_within_pipelines_and_parts_that_may_be_missing(tmp_path):
    base = tiny_diffusion_pipeline(image_size=(4, 8))
    large = tiny_diffusion_pipeline(image_size=(8, 16), small_size=(4, 8))
    CascadePipeline(base, large).save_single_file(tmp_path / "a.safetensors")
    back = CascadePipeline.from_single_file(tmp_path / "a.safetensors")
    assert_same_weights(back.super_resolution.unet, large.unet)
    one = tiny_pipeline()
    two = VARPipeline.collaborate(one, VARPipeline(one.vqvae, tiny_pipeline(depth=1).transformer), handover=2)
    two.save_single_file(tmp_path / "b.safetensors")
    again = VARPipeline.from_single_file(tmp_path / "b.safetensors")
    assert again.handover == 2
    assert_same_weights(again.finer, two.finer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said, _: said.update({"class": "Triple"}), ".*a.safetensors must be of class 'Pair', got 'Triple'"),
        (lambda said, _: said.pop("configs"), ".*a.safetensors must have 'configs', but it is missing"),
        (lambda said, _: said["configs"].pop("first"), ".*a.safetensors: 'configs' must be of the parts"),
        (lambda said, _: said["configs"].update({"first": 3}), ".*a.safetensors: 'first' must be an object, got 3"),
        (
            lambda said, _: said["configs"]["first"].update({"width": 4}),
            ".*must hold exactly the weights",
        ),
        (lambda said, _: said["configs"]["first"].update({"width": 10**12}), ".*'width' must be at most"),
        (lambda said, _: said.update({"extra": 1}), ".*a.safetensors: unknown key 'extra'"),
        (lambda said, _: said["settings"].update({"stpes": 1}), ".*Pair has no setting 'stpes'; did you mean 'steps'"),
        (lambda _, held: held.update({"third.x": torch.ones(1)}), ".*of its parts only, but: unexpected third.x"),
        (lambda _, held: held.update({"first.x": torch.ones(1)}), ".*exactly the weights .*, but: unexpected x"),
        (lambda _, held: held.pop(sorted(held)[0]), ".*exactly the weights .*, but: missing"),
        (lambda _, held: held["first.head.weight"].fill_(torch.nan), ".*must be finite numbers, but holds NaN"),
    ],
)
def test_a_wrong_file_is_refused(pipeline, tmp_path, change, message):
    pipeline.save_single_file(tmp_path / "a.safetensors")
    rewritten(tmp_path / "a.safetensors", change)
    with one_line(message):
        Pair.from_single_file(tmp_path / "a.safetensors")


def test_files_of_others_are_told_where_they_belong(tmp_path, tiny):
    with one_line("the file of a pipeline must end in .safetensors, got .*; official checkpoints are read by"):
        VARPipeline.from_single_file(tmp_path / "var_d16.pth")
    tiny.save_pretrained(tmp_path)
    with one_line(".*safetensors must say its pipeline in its header, .*, got none; write one"):
        Pair.from_single_file(tmp_path / "model.safetensors")
    with one_line("a file of weights must exist, but there is no"):
        Pair.from_single_file(tmp_path / "b.safetensors")
    with one_line("the file of a pipeline must end in .safetensors, got .*a.bin; rename it"):
        tiny_pipeline().save_single_file(tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()
