"""Checkpoint folders: whole or absent, on a full disk too; and evaluations that keep the best weights."""

import errno
import json
import os
import resource

import pytest
import torch
from training_runs import outcome, rich_run, stop_at, write_checkpoint

from var.errors import UserError
from var.training.checkpoints import CheckpointWriter, checkpoints, fault, newest_whole, read_facts


def test_files_manifest_and_modes(tmp_path):
    write_checkpoint(tmp_path, 10)
    (path,) = checkpoints(tmp_path)
    assert sorted(file.name for file in path.iterdir()) == ["manifest.json", "model.safetensors", "state.json"]
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o644}
    manifest = json.loads((path / "manifest.json").read_text())
    assert manifest["files"]["model.safetensors"]["bytes"] == (path / "model.safetensors").stat().st_size
    assert read_facts(path) == {"step": 10}
    assert newest_whole(tmp_path) == (path, [])


def test_steps_are_ordered_as_numbers_and_the_oldest_go(tmp_path):
    for step in (9, 10, 100, 11):
        write_checkpoint(tmp_path, step, keep=3)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-100", "step-11", "step-10"]
    assert checkpoints(tmp_path / "missing") == []


def test_a_step_that_is_saved_again_replaces_the_old_one(tmp_path):
    write_checkpoint(tmp_path, 5, size=10)
    write_checkpoint(tmp_path, 5, size=20)
    assert [path.name for path in tmp_path.iterdir()] == ["step-5"]
    assert fault(tmp_path / "step-5") is None


def test_tensors_that_share_memory_and_views_are_written_whole(tmp_path):
    base = torch.arange(6.0)
    writer = CheckpointWriter(tmp_path, 1)
    writer.add("model", {"a": base, "b": base, "c": base.view(2, 3).t()})
    writer.finish({}, 2)
    from safetensors.torch import load_file

    found = load_file(tmp_path / "step-1" / "model.safetensors")
    assert torch.equal(found["a"], base)
    assert torch.equal(found["b"], base)
    assert torch.equal(found["c"], base.view(2, 3).t())


class Killed(BaseException):
    """Stands for a SIGKILL between two operations."""


@pytest.mark.parametrize("operation", ["fsync", "rename", "mkdir"])
def test_killed_at_every_operation_of_a_save_the_older_checkpoint_is_whole(operation, tmp_path, monkeypatch):
    real = getattr(os, operation)
    for moment in range(20):
        folder = tmp_path / str(moment)
        write_checkpoint(folder, 1)
        write_checkpoint(folder, 2)
        calls = 0

        def die(*arguments, moment=moment, **options):
            nonlocal calls
            calls += 1
            if calls > moment:
                raise Killed
            return real(*arguments, **options)

        monkeypatch.setattr(os, operation, die)
        try:
            write_checkpoint(folder, 3)
        except Killed:
            pass
        else:
            break
        finally:
            monkeypatch.setattr(os, operation, real)
        found = checkpoints(folder)
        assert found[0].name in ("step-2", "step-3")
        assert [fault(path) for path in found] == [None] * len(found)
    assert moment > 0


def assert_refused(folder, message, reason):
    assert f"the checkpoint of step 2 must be written whole to {folder}, but: " in message
    assert f", but: {os.strerror(reason)} (" in message
    assert " MB free, more than 0." in message
    assert message.endswith("step-1 is intact and the same command goes on from it")


def test_a_file_that_may_not_grow(tmp_path):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    write_checkpoint(tmp_path, 1, size=10_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, limits[1]))
    try:
        with pytest.raises(UserError) as caught:
            write_checkpoint(tmp_path, 2, size=200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_refused(tmp_path, str(caught.value), errno.EFBIG)
    assert [path.name for path in tmp_path.iterdir()] == ["step-1"]
    assert fault(tmp_path / "step-1") is None


def test_a_disk_that_is_full(forker, tmp_path):
    """A file system of 600 kB, which only the process that saves there can see."""
    folder = tmp_path / "disk"
    folder.mkdir()
    status = forker.wait(forker.start("save_on_a_small_disk", tmp_path / "output", folder=str(folder)))
    text = (tmp_path / "output").read_text()
    if status == 77:
        pytest.skip(f"no file system can be mounted here: {text}")
    assert status == 0, text
    report = json.loads(text)
    assert_refused(folder, report["message"], errno.ENOSPC)
    assert report["left"] == ["step-1"]
    assert report["fault"] is None


def test_a_run_on_a_full_disk_says_so_and_goes_on_when_there_is_room(tmp_path, monkeypatch):
    rich_run(tmp_path / "whole")
    rich_run(tmp_path / "full", hook=stop_at(9))

    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("var.foreign.weights._write", full)
        with pytest.raises(UserError, match=r"step 14 must be written whole .*No space left.*step-10 is intact"):
            rich_run(tmp_path / "full")
    _, result = rich_run(tmp_path / "full")
    assert result.resumed_from == 10
    assert outcome(tmp_path / "full") == outcome(tmp_path / "whole")


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"written whole to {tmp_path / 'file'}.*no earlier one exists: the run begins"):
        write_checkpoint(tmp_path / "file", 1)
