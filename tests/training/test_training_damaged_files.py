"""Whatever is damaged or of others among the files of a run has its rule: set aside with a warning, or one line."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import save_file
from training_runs import rich_run, stop_at

from var.errors import UserError
from var.training import PeriodicEvaluation
from var.training.checkpoints import MANIFEST, checkpoints, fault, read_facts
from var.training.metrics_log import MetricsLog
from var.training.periodic_evaluation import best_so_far


def falling(step, model):
    return {"score": 1 / step}


def evaluation(run=falling):
    return PeriodicEvaluation(every=5, run=run, best="score")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was stopped after its ninth step, with best weights of the fifth."""
    folder = tmp_path_factory.mktemp("stopped") / "run"
    rich_run(folder, hook=stop_at(9), evaluate=evaluation())
    assert best_so_far(folder) == (5, 0.2)
    return folder


@pytest.fixture
def run(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "run")


def truncate(path):
    os.truncate(path, path.stat().st_size // 2)


def with_metadata(**metadata):
    return lambda path: save_file({"a": torch.zeros(2)}, path, metadata=metadata or None)


def a_folder(path):
    path.unlink()
    path.mkdir()


def flip(path):
    """Another value in the last weight, in a file that is whole."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 64
    path.write_bytes(content)


BEST = {
    "another bit": flip,
    "truncated": truncate,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"x" * 5000),
    "a page": lambda path: path.write_text("<html>"),
    "without metadata": with_metadata(),
    "of another program": with_metadata(format="pt"),
    "of no step": with_metadata(step="many", name="score", value="0.1"),
    "not a number": with_metadata(step="5", name="score", value="nan"),
    "deep": with_metadata(best="[" * 100_000),
    "a list": with_metadata(best="[1]"),
    "of another type": with_metadata(best='{"step": [], "value": 0.1}'),
    "a folder": a_folder,
}


@pytest.mark.parametrize("damage", BEST.values(), ids=BEST)
def test_damaged_best_weights_are_set_aside_and_the_run_goes_on(run, damage, caplog):
    """F5: the run died at each look until a person deleted the file."""
    damage(run / "best" / "model.safetensors")
    _, result = rich_run(run, evaluate=evaluation())
    assert result.finished
    assert "best.damaged" in caplog.text
    assert (run / "best.damaged").is_dir()
    assert best_so_far(run)[0] == result.steps


def test_best_weights_of_before_are_read(run):
    """With three keys, in whatever order."""
    with_metadata(format="pt", value="0.125", name="score", step="8")(run / "best" / "model.safetensors")
    assert best_so_far(run) == (8, 0.125)


def test_best_weights_are_the_same_bytes_every_time(run):
    """F13: three keys of metadata stood in random order."""
    header = (run / "best" / "model.safetensors").read_bytes()
    length = int.from_bytes(header[:8], "little")
    assert list(json.loads(header[8 : 8 + length])["__metadata__"]) == ["best"]


def test_a_fifo_as_best_weights_does_not_hang(run):
    path = run / "best" / "model.safetensors"
    path.unlink()
    os.mkfifo(path)
    _, result = rich_run(run, evaluate=evaluation())
    assert result.finished


def edit(name, **changes):
    """Change a JSON file of a checkpoint, and what its manifest says of it."""

    def damage(folder):
        path = folder / name
        values = json.loads(path.read_text())
        for key, value in changes.items():
            place = values
            *groups, last = key.split("__")
            for group in groups:
                place = place[group]
            place[last] = value
        path.write_text(json.dumps(values))
        if name != MANIFEST:
            import hashlib

            manifest = json.loads((folder / MANIFEST).read_text())
            content = path.read_bytes()
            manifest["files"][name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            (folder / MANIFEST).write_text(json.dumps(manifest))

    return damage


CHECKPOINT = {
    "files is a list": edit(MANIFEST, files=[1]),
    "files is null": edit(MANIFEST, files=None),
    "no files": edit(MANIFEST, files={}),
    "an entry is a text": edit(MANIFEST, **{"files__state.json": "x"}),
    "bytes is a text": edit(MANIFEST, **{"files__state.json": {"bytes": "9", "sha256": "0"}}),
    "bytes is true": edit(MANIFEST, **{"files__state.json": {"bytes": True, "sha256": "0"}}),
    "manifest is a list": lambda folder: (folder / MANIFEST).write_text("[1, 2]"),
    "manifest is deep": lambda folder: (folder / MANIFEST).write_text("[" * 100_000),
    "manifest is no UTF-8": lambda folder: (folder / MANIFEST).write_bytes(b"\xff\xfe{}"),
    "manifest is a folder": lambda folder: a_folder(folder / MANIFEST),
    "step is a text": edit("state.json", step="9"),
    "of another step": edit("state.json", step=7),
    "seconds is a list": edit("state.json", seconds=[]),
    "identity is a number": edit("state.json", identity=5),
    "training is a number": edit("state.json", identity__training=5),
    "state is null": edit("state.json", state=None),
    "updates is a text": edit("state.json", state__average_updates="x"),
    "the task's is a text": edit("state.json", state__task="x"),
    "journal is a list": edit("state.json", journal=[1]),
    "values is a list": edit("state.json", journal__values=[1]),
}


@pytest.mark.parametrize("damage", CHECKPOINT.values(), ids=CHECKPOINT)
def test_a_checkpoint_of_wrong_types_is_damaged(run, damage):
    """F6: parsed, not checked."""
    newest, older = checkpoints(run)
    damage(newest)
    assert fault(newest)
    assert fault(older) is None
    assert read_facts(older)["step"]


def test_a_checkpoint_that_is_no_folder_is_set_aside(run):
    newest, _ = checkpoints(run)
    shutil.rmtree(newest)
    newest.write_text("")
    (run / f"{newest.name}.damaged").write_text("older")
    _, result = rich_run(run, evaluate=evaluation())
    assert result.finished
    assert (run / f"{newest.name}.damaged").read_text() == ""


LINES = [
    '{"step": "2", "loss": 1}',
    '{"step": true, "loss": 1}',
    '{"step": 2, "loss": [1]}',
    '{"step": 2, "loss": {"a": 1}}',
    '{"step": 2, "loss": null}',
    '{"step": 1e999, "loss": 1}',
    '{"step": NaN, "loss": 1}',
    '{"step": 2, "loss": 1' + "0" * 5000 + "}",
    "[" * 100_000,
    "5",
    "[]",
    '"text"',
    "\x00\x01",
    "",
    '{"step": 2, "lo',
]


def test_lines_of_a_log_that_are_none_are_passed_over(tmp_path):
    good = ['{"step": 1.0, "loss": 2.5}', '{"step": 2.0, "warning": "look"}', '{"step": 2.0, "loss": NaN}']
    (tmp_path / "log.jsonl").write_text("\n".join([*LINES, *good, "x" * 3_000_000]) + "\n")
    log = MetricsLog(tmp_path / "log.jsonl", 1, start=2)
    assert [row["step"] for row in log.rows] == [1.0, 2.0]
    assert (tmp_path / "log.jsonl").read_text().splitlines() == good


@pytest.mark.parametrize("start", [0, 5])
@pytest.mark.parametrize(("make", "kind"), [(os.mkdir, "a folder"), (os.mkfifo, "a pipe")])
def test_a_log_that_is_no_file_is_refused(tmp_path, start, make, kind):
    """F9: IsADirectoryError."""
    make(tmp_path / "log.jsonl")
    with pytest.raises(UserError, match=f"must be a regular file.*, got {kind}"):
        MetricsLog(tmp_path / "log.jsonl", 1, start=start)


def test_a_log_on_a_full_disk_is_told_in_a_line(tmp_path):
    log = MetricsLog(tmp_path / "log.jsonl", 1)
    log.path = type(tmp_path)("/dev/full")
    with pytest.raises(UserError, match="the output /dev/full must be writable, but: No space left on device"):
        log.write(1, {"loss": 1.0})
