import dataclasses
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import Other, Tiny, TinyConfig, assert_same_weights, one_line
from torch import nn


def test_a_model_comes_back_as_it_was(tiny, saved):
    state = torch.random.get_rng_state()
    back = Tiny.from_pretrained(saved)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert back.config == tiny.config
    assert not back.training
    assert_same_weights(back, tiny)
    assert torch.equal(back.mask, torch.ones(3))
    assert back.head.weight is back.inner.weight


def test_the_files_are_whole_readable_and_alone(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["config.json", "model.safetensors"]
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in saved.iterdir())
    assert json.loads((saved / "config.json").read_text())["class"] == "Tiny"
    assert set(load_file(saved / "model.safetensors")) == {"inner.weight", "inner.bias", "head.weight", "count"}


def test_saving_over_an_older_model(saved):
    newer = Tiny(TinyConfig(width=5))
    newer.save_pretrained(saved)
    assert_same_weights(Tiny.from_pretrained(str(saved)), newer)


def test_an_interrupted_save_leaves_nothing_that_loads_wrongly(saved, monkeypatch):
    real = os.replace

    def killed(source, target):
        if Path(target).name == "config.json":
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        Tiny(TinyConfig(width=3, bias=False)).save_pretrained(saved)
    with one_line(".*config.json must be a JSON file, but it is missing"):
        Tiny.from_pretrained(saved)


def test_a_failed_save_keeps_the_older_model(tiny, saved, monkeypatch):
    def full(*args, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("var.foreign.weights._write", full)
    with one_line(".*model.safetensors must be writable, but: No space left on device; choose"):
        Tiny(TinyConfig(width=3)).save_pretrained(saved)
    assert_same_weights(Tiny.from_pretrained(saved), tiny)
    assert len(list(saved.iterdir())) == 2


def test_slices_of_one_tensor_are_written_whole(tmp_path):
    model = Other(TinyConfig(width=4))
    model.weight = nn.Parameter(torch.arange(400.0)[4:8])
    model.save_pretrained(tmp_path)
    assert torch.equal(Other.from_pretrained(tmp_path).weight, torch.arange(4.0, 8.0))
    assert (tmp_path / "model.safetensors").stat().st_size < 500


def test_dtype_and_device(saved):
    back = Tiny.from_pretrained(saved, dtype=torch.bfloat16, device="cpu")
    assert back.inner.weight.dtype == back.mask.dtype == torch.bfloat16
    assert back.count.dtype == torch.int64
    with one_line("dtype must be a float type, got torch.int8; use"):
        Tiny.from_pretrained(saved, dtype=torch.int8)
    with one_line("device 'cuda:99' cannot be used here .*; use 'cpu'"):
        Tiny.from_pretrained(saved, device="cuda:99")


def test_a_model_comes_back_in_the_type_in_which_it_was_saved(tiny, saved):
    tiny.bfloat16().save_pretrained(saved)
    back = Tiny.from_pretrained(saved)
    assert back.inner.weight.dtype == back.mask.dtype == torch.bfloat16
    assert_same_weights(back, tiny)
    assert Tiny.from_pretrained(saved, dtype=torch.float32).inner.weight.dtype == torch.float32


def edit_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("inner.bias"), "missing inner.bias; use"),
        (lambda w: w.update(extra=torch.zeros(1)), "unexpected extra; use"),
        (lambda w: w.update(mask=torch.zeros(3)), "unexpected mask; use"),
        (lambda w: w.update({"inner.bias": torch.zeros(4)}), r"inner.bias has shape \(4,\) instead of \(3,\); use"),
        (lambda w: w.update({"inner.bias": torch.zeros(3, dtype=torch.int32)}), "inner.bias has kind torch.int32"),
        (lambda w: w.update(count=torch.tensor(3.5)), "count has kind torch.float32 instead of torch.int64"),
        (lambda w: w.clear(), "missing count, missing inner.weight, missing inner.bias, missing head.weight; use"),
        (lambda w: w.update({f"x{i:02}": torch.zeros(1) for i in range(14)}), ".*unexpected x09 and 4 more; use"),
    ],
)
def test_weights_that_do_not_fit_are_listed_and_not_copied(saved, monkeypatch, change, message):
    edit_weights(saved, change)
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda *args, **options: pytest.fail("copied before comparing"))
    monkeypatch.setattr(torch, "empty_like", lambda *args, **options: pytest.fail("read before comparing"))
    with one_line(f"{saved}/model.safetensors must hold exactly the weights of Tiny .*, but: {message}"):
        Tiny.from_pretrained(saved)


def write_header(path, tensors):
    header = json.dumps(tensors).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def test_a_huge_tensor_is_refused_by_its_header(saved):
    size = 4 * 2**30  # a sparse file: this much is declared, and hardly any of it is on the disk
    weights = saved / "model.safetensors"
    write_header(weights, {"inner.weight": {"dtype": "F32", "shape": [2**30], "data_offsets": [0, size]}})
    with one_line(".*model.safetensors must be a whole file of weights, but: .*; download or save it again"):
        Tiny.from_pretrained(saved)
    os.truncate(weights, weights.stat().st_size + size)
    with one_line(r".*, inner.weight has shape \(1073741824,\) instead of \(3, 3\); use"):
        Tiny.from_pretrained(saved)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.json").unlink(), ".*config.json must be a JSON file, but it is missing"),
        (lambda folder: (folder / "config.json").write_text("{"), ".*config.json must be readable JSON, but"),
        (lambda folder: (folder / "config.json").write_text("[" * 100000), ".*config.json must be readable JSON"),
        (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"), ".*config.json must be readable JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), ".*config.json must hold an object, got a list"),
        (
            lambda folder: (folder / "config.json").write_text('{"class": "Tiny", "width": 3, "rate": NaN}'),
            ".*config.json must be readable JSON, but: NaN is not a JSON number",
        ),
        (
            lambda folder: (folder / "config.json").write_text('{"class": "Other", "width": 3}'),
            ".*config.json must be of class 'Tiny', got 'Other'; load",
        ),
        (lambda folder: (folder / "config.json").write_text('{"width": 3}'), ".*must be of class 'Tiny', got None"),
        (
            lambda folder: (folder / "config.json").write_text('{"class": "Tiny", "width": 3, "sidse": []}'),
            ".*config.json: TinyConfig has no field 'sidse'; did you mean 'sides'",
        ),
        (
            lambda folder: (folder / "model.safetensors").unlink(),
            "a file of weights must exist, but there is no .*model.safetensors; check",
        ),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b""),
            ".*model.safetensors must hold .*: it is empty",
        ),
        (
            lambda folder: os.truncate(folder / "model.safetensors", os.path.getsize(folder / "model.safetensors") - 1),
            ".*model.safetensors must be a whole file of weights, but: .*; download",
        ),
    ],
)
def test_damaged_folders_are_named(saved, damage, message):
    damage(saved)
    with one_line(message):
        Tiny.from_pretrained(saved)


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_place_that_cannot_be_written(tiny, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    with one_line(f"the output {tmp_path / place} must be writable, but: .*; choose another place"):
        tiny.save_pretrained(tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"
    named = ": name a folder" if place == "file" else ""
    with one_line(rf".*, but: {tmp_path / 'file'} is a file; choose another place{named}$"):
        tiny.save_pretrained(tmp_path / place)


def test_a_config_that_could_not_be_read_back_is_not_saved(tiny, tmp_path):
    tiny.config = dataclasses.replace(tiny.config, name=7)
    with one_line("the config of Tiny: field 'name' must be"):
        tiny.save_pretrained(tmp_path / "new")
    tiny.config = dataclasses.replace(tiny.config, name=None, rate=float("nan"))
    with one_line("the config of Tiny: field 'rate' must be a finite number, got nan"):
        tiny.save_pretrained(tmp_path / "new")
    assert not (tmp_path / "new").exists()
