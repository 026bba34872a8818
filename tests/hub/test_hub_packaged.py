"""Models that come with a package: found by id before the Hub is asked, computing in float32."""

import importlib
import socket
import sys

import pytest
import torch
from tiny_models import Other, Pair, Tiny, assert_same_weights, one_line

from diffusion_baseline import DiffusionPipeline, UNet
from var import VAR, VQVAE, VARPipeline
from var.hub.packaged import packaged_models

ID = "next-scale/pair"


@pytest.fixture
def package(pipeline, tmp_path, monkeypatch):
    """A package of one model, where no connection can be made; gives the folder of the model."""
    folder = tmp_path / "with_models"
    pipeline.to(torch.bfloat16).save_pretrained(folder / "models" / "pair")
    for cls in (Pair, Tiny):
        monkeypatch.setattr(cls, "package", "with_models")
    (folder / "models" / "notes").mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket, "socket", None)
    monkeypatch.setattr(socket, "getaddrinfo", None)
    importlib.invalidate_caches()
    yield folder / "models" / "pair"
    sys.modules.pop("with_models", None)


def listing(folder):
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if "__pycache__" not in path.parts}


def test_its_id_is_its_folder_and_nothing_is_written_there(package):
    before = listing(package.parents[1])
    assert packaged_models("with_models") == {ID: package}
    for options in ({}, {"local_files_only": True, "cache_dir": "cache", "token": False, "progress": False}):
        assert Pair.from_pretrained(ID, **options).steps == 9
    tiny = Tiny.from_pretrained(ID, subfolder="first")
    assert_same_weights(tiny, Tiny.from_pretrained(package / "first"))
    assert listing(package.parents[1]) == before


@pytest.mark.parametrize("asked", [None, "auto", "bf16", torch.float64])
def test_it_computes_in_float32_unless_another_type_is_asked_for(package, asked):
    wanted = {"bf16": torch.bfloat16, torch.float64: torch.float64}.get(asked, torch.float32)
    for loaded in (Pair.from_pretrained(ID, dtype=asked), Pair.from_pretrained(package, dtype=asked)):
        assert loaded.first.inner.weight.dtype == loaded.second.weight.dtype == wanted
    # A copy elsewhere is as it was saved, as everything else is.
    copied = package.rename(package.parents[2] / "copied")
    assert Pair.from_pretrained(copied).second.weight.dtype == torch.bfloat16
    assert Other.from_pretrained(copied / "second").weight.dtype == torch.bfloat16


def test_a_folder_here_comes_first(package, pipeline):
    pipeline.steps = 5
    pipeline.save_pretrained(ID)
    assert Pair.from_pretrained(ID).steps == 5


def test_what_is_not_there_is_told_without_the_hub(package):
    with one_line(r"models of 'next-scale' are those that come with with_models, got 'next-scale/pears'; choose"):
        Pair.from_pretrained("next-scale/pears")
    with one_line(r"revision is for a model on the Hub, got 'v1'"):
        Pair.from_pretrained(ID, revision="v1")
    with one_line(r".*'next-scale/pears'; choose one of 'next-scale/pair'$"):
        Tiny.from_pretrained("next-scale/pears", subfolder="first")
    with one_line(r".*must be of class 'Tiny'"):
        Tiny.from_pretrained(ID, subfolder="second")


@pytest.mark.parametrize("cls", [VARPipeline, VAR, VQVAE, DiffusionPipeline, UNet])
def test_every_class_asks_its_own_package(cls):
    home = cls.__module__.partition(".")[0]
    with one_line(rf"models of 'next-scale' are those that come with {home}, got 'next-scale/none'"):
        cls.from_pretrained("next-scale/none")


@pytest.mark.parametrize("package", ["var", "diffusion_baseline"])
def test_commands_refuse_an_unknown_one_before_torch_is_needed(package, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    cli = importlib.import_module(f"{package}.cli")
    assert cli.main(["generate", "--model", "next-scale/none"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert f"come with {package}, got 'next-scale/none'" in err
