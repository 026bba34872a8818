"""Weights in several files."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import Other, Pair, Tiny, TinyConfig, assert_same_weights, one_line
from torch import nn

INDEX = "model.safetensors.index.json"


@pytest.fixture
def sharded(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "tiny", max_shard_size=45)
    return tmp_path / "tiny"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_shards_hold_all_tensors_once_and_no_more_than_asked(tiny, sharded):
    shards = [name for name in names(sharded) if name.endswith(".safetensors")]
    assert shards == [f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)]
    parts = {shard: load_file(sharded / shard) for shard in shards}
    assert all(sum(tensor.nbytes for tensor in part.values()) <= 45 for part in parts.values())
    index = json.loads((sharded / INDEX).read_text())
    assert index["weight_map"] == {name: shard for shard, part in parts.items() for name in part}
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tiny.state_dict().values())
    back = Tiny.from_pretrained(sharded)
    assert_same_weights(back, tiny)
    assert back.head.weight is back.inner.weight  # tied across two files


def test_a_tensor_larger_than_a_shard_has_one_of_its_own(tiny, tmp_path):
    tiny.save_pretrained(tmp_path, max_shard_size=1)
    assert len(list(tmp_path.glob("model-*"))) == len(tiny.state_dict())
    assert_same_weights(Tiny.from_pretrained(tmp_path), tiny)


@pytest.mark.parametrize(("size", "files"), [("5GB", 1), ("1 kb", 1), (10**9, 1), ("45", 3)])
def test_sizes_in_words(tiny, tmp_path, size, files):
    tiny.save_pretrained(tmp_path, max_shard_size=size)
    assert len(list(tmp_path.glob("*.safetensors"))) == files


@pytest.mark.parametrize("size", ["5 GiB", "", "GB", "-1", 0, "1.5GB", "9" * 100])
def test_a_size_that_is_none(pipeline, tmp_path, size):
    with one_line(f"max_shard_size must be a number of bytes or a text like '5GB', got {size!r}; correct it"):
        pipeline.first.save_pretrained(tmp_path / "new", max_shard_size=size)
    with one_line("max_shard_size must be"):
        pipeline.save_pretrained(tmp_path / "new", max_shard_size=size)
    assert not (tmp_path / "new").exists()


def test_a_pipeline_with_shards(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path, max_shard_size=45)
    assert len(list((tmp_path / "first").glob("*.safetensors"))) == 3
    assert_same_weights(Pair.from_pretrained(tmp_path).first, pipeline.first)


@pytest.mark.parametrize(("before", "after"), [(45, "5GB"), ("5GB", 45), (1, 45), (45, 1)])
def test_shards_of_an_older_save_are_removed(tmp_path, before, after):
    Tiny(TinyConfig(width=3)).save_pretrained(tmp_path, max_shard_size=before)
    (tmp_path / "notes.safetensors").write_text("mine")
    newer = Tiny(TinyConfig(width=3))
    newer.save_pretrained(tmp_path, max_shard_size=after)
    newer.save_pretrained(tmp_path.parent / "alone", max_shard_size=after)
    assert names(tmp_path) == sorted([*names(tmp_path.parent / "alone"), "notes.safetensors"])
    assert_same_weights(Tiny.from_pretrained(tmp_path), newer)


def test_wherever_a_save_is_killed_nothing_loads_as_a_mixture(tmp_path, monkeypatch):
    """Every rename and removal of a save from two shards to four and back is the last one, in turn."""
    old, new = Tiny(TinyConfig(width=3)), Tiny(TinyConfig(width=3, bias=False))
    outcomes = set()
    for sizes in ((45, 1), (1, 45), ("5GB", 45), (45, "5GB")):
        for moment in range(40):
            folder = tmp_path / f"{sizes[0]}-{sizes[1]}-{moment}"
            old.save_pretrained(folder, max_shard_size=sizes[0])
            with monkeypatch.context() as patch:
                killed_at(moment, patch)
                try:
                    new.save_pretrained(folder, max_shard_size=sizes[1])
                except KeyboardInterrupt:
                    pass
                else:
                    assert_same_weights(Tiny.from_pretrained(folder), new)
                    outcomes.add("new")
                    break
            outcomes.add(outcome(folder, old, new))
        else:
            pytest.fail("the save was never finished")
    assert outcomes == {"old", "neither", "new"}


def outcome(folder, old, new):
    if not (folder / "config.json").exists():
        return "neither"
    loaded = Tiny.from_pretrained(folder)
    name, wanted = ("old", old) if loaded.config == old.config else ("new", new)
    assert_same_weights(loaded, wanted)
    return name


def killed_at(moment, patch):
    """Nothing is renamed or removed after `moment` such changes: a stand-in for SIGKILL."""
    done = 0

    def counted(real):
        def call(*args, **options):
            nonlocal done
            if done >= moment:
                raise KeyboardInterrupt
            done += 1
            return real(*args, **options)

        return call

    patch.setattr(os, "replace", counted(os.replace))
    patch.setattr(Path, "unlink", counted(Path.unlink))


def test_what_a_killed_process_left_half_written_is_swept(tiny, tmp_path):
    gone, mine = 2**22 + 1, os.getpid()  # the first is more than any process number
    for name in (f".model-00001-of-00002.safetensors.{gone}.tmp", f".config.json.{gone}.tmp", f".notes.{gone}.tmp"):
        (tmp_path / name).write_text("half")
    (tmp_path / f".model-00009-of-00009.safetensors.{mine}.tmp").write_text("of another thread")
    tiny.save_pretrained(tmp_path)
    left = {f".notes.{gone}.tmp", f".model-00009-of-00009.safetensors.{mine}.tmp"}
    assert set(names(tmp_path)) == {"config.json", "model.safetensors"} | left


def edited(folder, change):
    index = json.loads((folder / INDEX).read_text())
    change(index)
    (folder / INDEX).write_text(json.dumps(index))


SECOND = "model-00002-of-00003.safetensors"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i: i.pop("weight_map"), f".*{INDEX}: 'weight_map' must give the file of every tensor"),
        (lambda i: i.update(weight_map={"count": 3}), f".*{INDEX}: 'weight_map' must give the file of every tensor"),
        (lambda i: i.update(weight_map=[]), f".*{INDEX}: 'weight_map' must give the file of every tensor"),
        (lambda i: i["weight_map"].update(count="../model-00001-of-00003.safetensors"), ".*lie beside it, got '../mod"),
        (lambda i: i["weight_map"].update(count="/etc/passwd"), ".*lie beside it, got '/etc/passwd'"),
        (lambda i: i["weight_map"].update(count="pytorch_model.bin"), ".*lie beside it, got 'pytorch_model.bin'"),
        (
            lambda i: i["weight_map"].update(count="model-00004-of-00004.safetensors"),
            ".*/model-00004-of-00004.safetensors must exist, as model.safetensors.index.json says; download it",
        ),
        (
            lambda i: i["weight_map"].update(extra=SECOND),
            f".*{SECOND} must hold exactly .*but extra is only in the ind",
        ),
        (lambda i: i["weight_map"].pop("head.weight"), ".*does not name model-00003-of-00003.safetensors; save the"),
        (lambda i: i["weight_map"].update({"head.weight": SECOND}), ".*does not name model-00003-of-00003.safetensors"),
        (
            lambda i: i["weight_map"].pop("count"),
            ".*model-00001-of.* must hold exactly .*, but count is only in the f",
        ),
    ],
)
def test_an_index_that_lies_is_refused(sharded, change, message):
    edited(sharded, change)
    with one_line(message):
        Tiny.from_pretrained(sharded)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / SECOND).unlink(), f".*{SECOND} must exist, as {INDEX} says; download it again"),
        (lambda f: (f / INDEX).unlink(), f".*{INDEX} must exist beside model-00001-of-00003.safetensors, but"),
        (lambda f: (f / INDEX).write_text("{"), f".*{INDEX} must be readable JSON"),
        (
            lambda f: (f / SECOND).write_bytes(b"version https://git-lfs"),
            f".*{SECOND} must hold .*Git-LFS pointer of",
        ),
        (lambda f: (f / SECOND).write_bytes(b"<html>"), f".*{SECOND} must hold data, but: got a web page of 6 bytes"),
        (lambda f: os.truncate(f / SECOND, 100), f".*{SECOND} must be a whole file of weights, but: .*; download or"),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"x"),
            f".*{INDEX} must .*does not name model.safetensors",
        ),
        (
            lambda f: (f / "model-00003-of-00004.safetensors").write_bytes(b"x"),
            f".*{INDEX} must name all weights beside it, but does not name model-00003-of-00004.safetensors",
        ),
        (
            lambda f: save_file({"head.weight": torch.zeros(4, 4)}, f / "model-00003-of-00003.safetensors"),
            rf".*{INDEX} must hold exactly the weights of Tiny .*head.weight has shape \(4, 4\) instead of \(3, 3\)",
        ),
    ],
)
def test_damaged_shards_are_named_before_anything_is_read(sharded, monkeypatch, damage, message):
    damage(sharded)
    monkeypatch.setattr(nn.Module, "load_state_dict", lambda *args, **options: pytest.fail("copied before comparing"))
    with one_line(message):
        Tiny.from_pretrained(sharded)


def test_tied_tensors_that_differ_are_refused(tiny, tmp_path):
    tiny.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights["head.weight"] = weights["head.weight"] + 1
    save_file(weights, tmp_path / "model.safetensors")
    with one_line(".*: head.weight and inner.weight are one tensor in the model and must be equal, but they differ"):
        Tiny.from_pretrained(tmp_path)


def test_only_a_pickle_is_not_loaded(saved):
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")
    with one_line(".*model.safetensors must exist, but there is only pytorch_model.bin, a pickle, which"):
        Tiny.from_pretrained(saved)


def test_the_single_model_in_a_pipeline_s_place_and_the_reverse(pipeline, tmp_path):
    pipeline.save_pretrained(tmp_path / "pair")
    with one_line(".*/pair must hold a single Other, but it holds a pipeline; load that, or give the name of a part"):
        Other.from_pretrained(tmp_path / "pair")
    with one_line(".*/first must hold a Pair, but it holds a single model; load that with its own class"):
        Pair.from_pretrained(tmp_path / "pair" / "first")
