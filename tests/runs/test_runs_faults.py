"""Faults around a run as a user meets them: wrong files in its folder, wrong settings, and no room on the disk."""

import json
import os
import shutil

import pytest
import yaml

from var import VQVAE
from var.cli import main

TINY = ["training.steps=2", "training.batch_size=4", "training.log_every=1", "evaluation.every=1", "vqvae.width=4"]
TINY += ["vqvae.base_channels=2", "vqvae.norm_groups=2", "vqvae.vocabulary=16", "training.optimizer=adamw"]
TINY += ["evaluation.samples=4", "evaluation.grid=4", "vqvae.kmeans_init=false", "checkpoints.every=1"]


def command(output, *settings, others=()):
    words = [part for setting in (*TINY, *settings) for part in ("--set", setting)]
    plain = ["--preset", "digits", "--output", str(output), "--quiet", "--device", "cpu"]
    return ["train", "vqvae", "digits", *plain, *words, *map(str, others)]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert main(command(folder)) == 0
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


def refused(capsys, *words):
    """The one line of a command that is refused."""
    code = main(list(map(str, words)))
    error = capsys.readouterr().err
    assert code == 2, error
    assert error.count("\n") == 1
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize("record", ['{"steps": "x"}', "["], ids=["wrong", "cut"])
def test_a_damaged_record_of_the_end_is_set_aside_and_written_again(run, capsys, caplog, record):
    """F6: `finished.json` {"steps": "x"} ended in a TypeError. tests/runs/test_runs_folder.py has more of them."""
    (run / "finished.json").write_text(record)
    assert main(command(run)) == 0, capsys.readouterr().err
    assert "finished.json cannot be used" in caplog.text
    assert (run / "finished.json.damaged").read_text() == record
    assert json.loads((run / "finished.json").read_text())["steps"] == 2
    assert "nothing is left to do" not in capsys.readouterr().out


RUN_FILES = {
    "run: 5": "'run' must be an object, got 5",
    "run: [1]": "'run' must be an object, got",
    "run: {kind: [1]}": "must hold a run of kind 'vqvae', got [1]",
    "training: 5": "must have 'run', but it is missing",
    "run: {kind: vqvae}\ntraining: 5": "training",
    "run: {kind: vqvae}\ntraining: {steps: [1]}": "training: field 'steps' must be a whole number, got [1]",
    "run: {kind: vqvae}\nvqvae: null": "needs the field 'training'",
    "run: {kind: vqvae}\nrun: {kind: vqvae}": "'run' is given twice",
    "[" * 100_000: "it is too deep",
    "": "must have 'run'",
    "\x00": "must be readable YAML",
    "&a [*a]": "",
    "run: !!python/object:os.system {}": "values are plain",
}


@pytest.mark.parametrize("text", RUN_FILES, ids=range(len(RUN_FILES)))
def test_a_file_of_settings_of_wrong_types_is_named(run, capsys, text):
    """F6: `run.yaml` with `run: 5`."""
    (run / "run.yaml").write_text(text)
    before = sorted(path.name for path in run.iterdir())
    error = refused(capsys, *command(run, "training.steps=3"))
    assert str(run) in error
    assert RUN_FILES[text] in error
    assert sorted(path.name for path in run.iterdir()) == before


def bomb():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    return "\n".join(lines)


CONFIGS = {
    "training: {steps: 1:30}": "field 'steps' must be a whole number, got '1:30'",  # F15
    "training: {steps: 5, steps: 6}": "'steps' is given twice",  # F15
    "training: {steps: 5}\ntraining: {steps: 6}": "'training' is given twice",
    "training: {compile: on}": "field 'compile' must be True or False, got 'on'",
    "training: {compile: yes}": "field 'compile' must be True or False, got 'yes'",
    "training: {steps: 2020-01-01}": "field 'steps' must be a whole number, got '2020-01-01'",
    "training: {steps: 0x10}": "field 'steps' must be a whole number, got '0x10'",
    "training: {steps: 1.5}": "field 'steps' must be a whole number, got 1.5",
    "training: {steps: true}": "field 'steps' must be a whole number, got True",
    "training: {learning_rate: .inf}": "field 'learning_rate' must be a finite number, got '.inf'",
    "training: {steps: !!binary aGk=}": "values are plain",
    "training: 5": "training",
    "training: []": "training",
    bomb(): "stands for more than",  # F7
    "x: &x {y: *x}": "must be readable YAML",
    "{a: " * 500: "must be readable YAML",
}


@pytest.mark.parametrize("text", CONFIGS, ids=range(len(CONFIGS)))
def test_a_file_of_settings_that_says_something_else_is_refused(tmp_path, capsys, text):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    plain = [
        "train",
        "vqvae",
        "digits",
        "--preset",
        "digits",
        "--output",
        tmp_path / "run",
        "--device",
        "cpu",
        "--plan",
    ]
    error = refused(capsys, *plain, "--config", path)
    assert str(path) in error
    assert CONFIGS[text] in error
    assert not (tmp_path / "run").exists()


def test_a_config_that_is_no_file_is_refused(tmp_path, capsys):
    """F10: a fifo hung, a link to /dev/zero took all memory."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, kind in (("fifo", "a pipe"), ("zero", "a device"), (".", "a folder")):
        error = refused(capsys, *command(tmp_path / "run", others=("--config", tmp_path / name, "--plan")))
        assert f"must be a regular file, got {kind}" in error
    (tmp_path / "large.yaml").write_text("a: " + "x" * 2_000_000)
    assert "at most" in refused(capsys, *command(tmp_path / "run", others=("--config", tmp_path / "large.yaml")))
    missing = refused(capsys, *command(tmp_path / "run", others=("--config", tmp_path / "nope.yaml")))
    assert "nope.yaml must be a YAML file, but it is missing" in missing


def test_texts_that_look_like_numbers_come_back_as_texts(tmp_path):
    from var.runs.overrides import read_settings, write_settings

    values = {"run": {"data": {"classes": ["1e5", "1:30", "010", "on", "~", "null", "5", ".5", "0x1", "=", "a: b"]}}}
    write_settings(tmp_path / "run.yaml", values)
    assert read_settings(tmp_path / "run.yaml") == values
    assert yaml.safe_load((tmp_path / "run.yaml").read_text()) == values  # for readers of the older version


PLACES = {
    "a file": lambda path: path.write_text("mine"),
    "a pipe": os.mkfifo,
    "a folder with strangers": lambda path: (path.mkdir(), (path / "mine").write_text("mine")),
    "a broken link": lambda path: path.symlink_to(path.parent / "gone" / "away"),
}


@pytest.mark.parametrize("make", PLACES.values(), ids=PLACES)
def test_an_output_that_cannot_be_one_is_refused_and_left_alone(tmp_path, capsys, make):
    make(tmp_path / "run")
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    code = main(command(tmp_path / "run"))
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert sorted(str(path) for path in tmp_path.rglob("*")) == before


def test_an_output_may_be_a_link_to_a_folder_and_home_is_expanded(tmp_path, monkeypatch, capsys):
    (tmp_path / "place").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "place")
    assert main(command(tmp_path / "link")) == 0
    assert VQVAE.from_pretrained(tmp_path / "place").config.vocabulary == 16
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(command("~/home", others=("--init", "~/place"))) == 0
    assert (tmp_path / "home" / "finished.json").exists()
    assert not (tmp_path / "~").exists()
    capsys.readouterr()


def test_another_start_on_one_output_is_told_who_is_at_work(tmp_path, capsys):
    from var.locks import sole_owner

    with sole_owner(tmp_path / "run"):
        assert "at work in" in refused(capsys, *command(tmp_path / "run"))
    assert main(command(tmp_path / "run")) == 0
    assert not (tmp_path / "run" / ".lock").exists()


def test_workers_without_end_are_refused(tmp_path, capsys):
    """F16: `--workers 1000000000000` started processes without end."""
    error = refused(capsys, *command(tmp_path / "run", others=("--workers", "1000000000000")))
    assert "workers must be 0 or more, at most" in error
    assert "got 1000000000000;" in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("size", ["3m", "700k", "16k"])
def test_a_disk_that_is_full_at_the_first_checkpoint_is_told_in_a_line(forker, tmp_path, size):
    """F3: a TypeError where the message was made."""
    folder = tmp_path / "disk"
    folder.mkdir()
    words = command(folder / "run", "vqvae.base_channels=16")
    log = tmp_path / "output"
    status = forker.wait(forker.start("run_on_a_small_disk", log, folder=str(folder), size=size, words=words))
    text = log.read_text()
    if status == 77:
        pytest.skip(f"no file system can be mounted here: {text}")
    assert "Traceback" not in text
    if size == "3m":
        assert status in (0, 2), text
        return
    assert status == 2, text
    assert "No space left on device" in text
    assert "make room" in text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["training.batch_size=5000"], "the data must hold at least one global batch of 5000 images"),
        (["training.batch_size=4", "training.accumulation=3"], "use a multiple of 3"),
    ],
)
def test_a_batch_that_cannot_be_leaves_no_folder_that_refuses_the_corrected_one(tmp_path, capsys, wrong, message):
    """The remedy can be followed: the folder kept the wrong number, and wanted it back."""
    assert message in refused(capsys, *command(tmp_path / "run", *wrong))
    assert not (tmp_path / "run").exists()
    assert main(command(tmp_path / "run", "training.batch_size=6", "training.accumulation=3")) == 0


def test_a_setting_given_twice_in_a_file_is_refused(tmp_path, capsys):
    """A sister of F15: once in its group, once by its dotted name."""
    (tmp_path / "both.yaml").write_text("training: {seed: 7}\ntraining.seed: 8\n")
    error = refused(capsys, *command(tmp_path / "run", others=["--config", tmp_path / "both.yaml"]))
    assert "both.yaml gives 'training.seed' twice; keep one" in error


def test_other_data_than_those_that_are_named_are_refused(tmp_path, capsys):
    """--set data.source=shapes was overruled by DATA without a word."""
    error = refused(capsys, *command(tmp_path / "run", "data.source=shapes"))
    assert "the data are named by DATA, 'digits', got data.source='shapes' too; leave one out" in error
    assert main([*command(tmp_path / "run", "data.source=digits"), "--plan"]) == 0


def test_the_assignment_that_is_wrong_is_the_one_that_is_named(tmp_path, capsys):
    error = refused(capsys, *command(tmp_path / "run", "training.seed=1", "training.steps=0", "vqvae.phi=2"))
    assert "error: --set training.steps=0: training: steps must be at least 1, got 0; raise it" in error
    error = refused(capsys, *command(tmp_path / "run", "vqvae.norm_groups=3", "vqvae.phi=2"))
    assert "error: --set vqvae.norm_groups=3: vqvae: channels must be divisible by norm_groups=3" in error


HARMS = {
    "truncated": lambda path: os.truncate(path, 9),
    "gone": lambda path: path.unlink(),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path.name)),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_the_config_of_the_best_weights_is_written_again(run, harm):
    """A sister of F5: weights that no better ones follow stayed without it, or the run died of it at each look."""
    path = run / "checkpoints" / "best" / "config.json"
    whole = path.read_text()
    (run / "finished.json").unlink()
    shutil.rmtree(run / "checkpoints" / "step-2")
    harm(path)
    assert main(command(run)) == 0
    assert path.read_text() == whole
    VQVAE.from_pretrained(path.parent)
