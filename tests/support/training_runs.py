"""The runs of tiny tasks that the tests of the training loop start and kill."""

import atexit
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn
from training_jitter import jitter, slow_jitter
from training_tasks import Plain, Rich, make_data

from var.data.batches import batches
from var.errors import UserError
from var.training import CheckpointPolicy, PeriodicEvaluation, TrainingConfig, train
from var.training.checkpoints import CheckpointWriter, fault

CONFIG = {
    "steps": 24,
    "batch_size": 8,  # 9 steps an epoch
    "learning_rate": 5e-3,
    "ema_decay": 0.9,
    "log_every": 5,
}
SHORT = 10
"""Steps where it is enough that an epoch ends among them."""


def rich_run(
    folder,
    *,
    hook=lambda step: None,
    every=7,
    workers=0,
    evaluate=None,
    identity=None,
    keep=2,
    augment=jitter,
    **settings,
):
    """Train the rich task with checkpoints in `folder`; returns the task and the result."""
    task = Rich(hook)
    result = train(
        task,
        make_data(),
        TrainingConfig(**{**CONFIG, **settings}),
        augment=augment,
        log=Path(folder) / "log.jsonl",
        progress=False,
        device="cpu",
        checkpoints=CheckpointPolicy(folder=Path(folder), every=every, keep=keep, identity=identity or {}),
        workers=workers,
        evaluate=evaluate,
    )
    return task, result


def plain_run(folder=None, *, every=100, hook=lambda step: None, noise=0.0, bad_index=-1, evaluate=None, **settings):
    """Train the plain task; with checkpoints if there is a `folder`. Returns the task and the result."""
    task = Plain(noise, bad_index, hook)
    if os.environ.get("RANK", "0") != "0":  # the main process' weights count
        nn.init.normal_(task.model.first.weight)
    result = train(
        task,
        make_data(),
        TrainingConfig(**{**CONFIG, "log_every": 1, "ema_decay": 0.0, **settings}),
        progress=False,
        device="cpu",
        checkpoints=CheckpointPolicy(folder=Path(folder), every=every) if folder else None,
        evaluate=evaluate,
    )
    return task, result


def convolution_run(**settings):
    """Train convolutions whose weights lie channels last; returns the history and the last weight."""
    task = Plain()
    layers = nn.Conv2d(4, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 1, 3, padding=1), nn.Flatten(0)
    task.model = nn.Sequential(*layers).to(memory_format=torch.channels_last)
    config = TrainingConfig(**{**CONFIG, "log_every": 1, "optimizer": "muon", **settings})
    result = train(task, make_data(), config, progress=False, device="cpu")
    return result.history, task.model[2].weight.tolist()


def write_checkpoint(folder, step, keep=2, size=1000):
    """A checkpoint of some tensors."""
    writer = CheckpointWriter(folder, step)
    weight = torch.full((size,), float(step))
    writer.add("model", {"weight": weight, "empty": torch.zeros(0), "flag": torch.tensor(True)})
    writer.finish({"step": step}, keep)


def mount_small_disk(folder, size):
    """A file system that only this process sees. Leaves with 77 if nothing can be mounted."""
    user, group = os.getuid(), os.getgid()
    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000 | 0x00020000):  # name spaces for users and for mounts
        print(os.strerror(ctypes.get_errno()))
        raise SystemExit(77)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=False).returncode:
        raise SystemExit(77)


def run_on_a_small_disk(folder, size, words):
    """The command `words` where there is so much room."""
    from var.cli import main

    mount_small_disk(folder, size)
    raise SystemExit(main(words))


def save_on_a_small_disk(folder):
    """Save twice where there is room for one; prints what came of it."""
    mount_small_disk(folder, "600k")
    write_checkpoint(Path(folder), 1, size=10_000)
    message = ""
    try:
        write_checkpoint(Path(folder), 2, size=200_000)
    except UserError as error:
        message = str(error)
    wrong = fault(Path(folder, "step-1"))
    print(json.dumps({"message": message, "left": os.listdir(folder), "fault": wrong}))


def killed_run(folder, events=None):
    """A run that is always saving; kills itself when it has done `events` things to files below `folder`."""
    done = 0

    def count(event, arguments):
        nonlocal done
        if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.chmod"):
            done += str(folder) in str(arguments[0])
            if done == events:
                os.kill(os.getpid(), signal.SIGKILL)

    if events is not None:
        sys.addaudithook(count)
    _, result = rich_run(folder, every=1)
    Path(folder, "result.json").write_text(json.dumps({"resumed_from": result.resumed_from}))


def run_with_workers(folder, starts):
    """A run in a group of processes of its own, which waits for its workers nearly all the time; started so often."""
    os.setpgid(0, 0)
    folder = Path(folder)
    for start in range(starts):
        _, result = rich_run(folder, workers=2, augment=slow_jitter)
        (folder / "result").write_text(json.dumps({"finished": result.finished, "steps": result.steps}))
        (folder / "result").rename(folder / f"result-{start}.json")


def command_that_ends_while_signals_come(words):
    """The command `words`: a signal comes when its run has left its record, and one while Python ends."""
    from var.cli import main
    from var.runs.folder import RunFolder

    def signalled(*arguments):
        finish(*arguments)
        os.kill(os.getpid(), signal.SIGTERM)

    def last():
        os.kill(os.getpid(), signal.SIGTERM)
        print("signals came", flush=True)

    finish, RunFolder.finish = RunFolder.finish, signalled
    atexit.register(last)
    status = main(words)
    atexit._run_exitfuncs()  # as Python does at its end, which a process of the forker leaves out
    raise SystemExit(status)


def images_of(step, rank=0, processes=1):
    """Indices of the images that a process sees in a step."""
    share = CONFIG["batch_size"] // processes
    stream = batches(make_data(), share, seed=0, start_step=step, rank=rank, world_size=processes)
    return next(stream).indices.tolist()


def stop_at(step, number=signal.SIGTERM, rank=0):
    """A hook that sends this process a signal in the middle of `step`, if it has the `rank`."""

    def hook(now):
        if now == step and int(os.environ.get("RANK", "0")) == rank:
            os.kill(os.getpid(), number)

    return hook


def as_one_of_two(folder):
    """What each of two processes does, one training after another; leaves a report."""
    rank = os.environ["RANK"]
    folder = Path(folder)
    report = {}
    kinds = {"ddp": {}, "accumulation": {"accumulation": 2}, "noise": {"noise": 0.5}}
    kinds |= {"fsdp": {"sharding": "fsdp"}, "fsdp noise": {"sharding": "fsdp", "noise": 0.5, "ema_decay": 0.5}}
    kinds |= {"muon": {"optimizer": "muon"}}
    kinds |= {"fsdp muon": {"optimizer": "muon", "sharding": "fsdp", "ema_decay": 0.5}}
    for name, settings in kinds.items():
        task, result = plain_run(**settings, steps=SHORT)
        report[name] = result.history
        report[f"{name} weight"] = task.model.last.weight.tolist()
    report["convolutions"] = convolution_run(sharding="fsdp", steps=SHORT)
    # Sharded, evaluated and stopped; a copy for one process, then the other half.
    looks = []
    look = PeriodicEvaluation(
        every=4, run=lambda step, model: looks.append(model.last.weight.tolist()) or {}, best=None
    )
    spread = {"sharding": "fsdp", "ema_decay": 0.5, "optimizer": "muon"}
    plain_run(folder / "sharded", **spread, hook=stop_at(10, rank=1), evaluate=look)
    if rank == "0":
        shutil.copytree(folder / "sharded", folder / "unsharded")
    task, result = plain_run(folder / "sharded", **spread, evaluate=look)
    report["sharded"] = [result.resumed_from, result.history, task.model.last.weight.tolist(), looks]
    # Stopped by a signal to one of them, resumed, and the same without.
    rich_run(folder / "whole")
    _, result = rich_run(folder / "parts", hook=stop_at(12, rank=1))
    report["stopped"] = [result.finished, result.steps]
    rich_run(folder / "parts")
    # A checkpoint for one process.
    plain_run(folder / "world", hook=stop_at(10, signal.SIGUSR1))
    task = Plain(bad_index=images_of(6, rank=1, processes=2)[1])
    try:
        train(task, make_data(), TrainingConfig(**CONFIG), progress=False, device="cpu")
    except UserError as error:
        report["refused"] = str(error)
    report["finite"] = all(bool(value.isfinite().all()) for value in task.model.state_dict().values())
    for flexible in (False, True):
        task = Plain()
        task.model.unused = nn.Linear(2, 2)
        task.find_unused_parameters = flexible
        try:
            train(task, make_data(), TrainingConfig(steps=2, batch_size=8), progress=False, device="cpu")
        except UserError as error:
            report[f"unused {flexible}"] = str(error)
    (folder / f"report-{rank}.json").write_text(json.dumps(report))


def outcome(folder, step=CONFIG["steps"]):
    """Everything that a run left: the SHA-256 of every file of tensors, the facts but for the time, the log."""
    folder = Path(folder)
    manifest = json.loads((folder / f"step-{step}" / "manifest.json").read_text())
    sums = {name: entry["sha256"] for name, entry in manifest["files"].items() if name.endswith(".safetensors")}
    facts = json.loads((folder / f"step-{step}" / "state.json").read_text())
    facts.pop("seconds")
    return sums, facts, (folder / "log.jsonl").read_text()
