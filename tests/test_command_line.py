"""The frame of the command lines: what is said, where, and with which exit code."""

import argparse
import json
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from var import __version__
from var.command_line.frame import file_path, number, one_of, run, whole_number
from var.errors import UserError

ROOT = Path(__file__).parents[1]


def raising(error):
    def act(arguments):
        raise error

    return act


@pytest.fixture
def call(monkeypatch, capsys):
    """Run a program of the commands `paint` and `plan`, whose actions are given; returns code, output, errors."""

    def call(*argv, paint=lambda arguments: None, resumes=False):
        commands = {}
        for name in ("paint", "plan"):
            module = types.ModuleType(f"fake_{name}")
            module.HELP = f"the command to {name}"
            module.RESUMES = resumes
            module.run = paint if name == "paint" else lambda arguments: print("planned", vars(arguments))
            module.add_arguments = add_paint_arguments if name == "paint" else add_plan_arguments
            monkeypatch.setitem(sys.modules, module.__name__, module)
            commands[name] = module.__name__
        code = run("prog", "A program.", commands, list(argv))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def add_paint_arguments(parser):
    parser.add_argument("--color", type=one_of("red", "green"))
    parser.add_argument("--layers", type=whole_number(least=1), default=1)
    parser.add_argument("--width")


def add_plan_arguments(parser):
    parts = parser.add_subparsers(required=True, metavar="PART", dest="part")
    parts.add_parser("build").add_argument("--size")


def test_a_command_gets_its_arguments(call):
    seen = []
    assert call("paint", "--color", "red", "--layers", "3", paint=seen.append) == (0, "", "")
    assert vars(seen[0]) == {"color": "red", "layers": 3, "width": None}


def test_a_commands_own_commands(call):
    assert call("plan", "build", "--size", "3")[:2] == (0, "planned {'part': 'build', 'size': '3'}\n")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([], "prog: error: a command must be named, got none; choose one of 'paint', 'plan'"),
        (["pant"], "prog: error: unknown command 'pant'; did you mean 'paint'"),
        (["--hlep"], "prog: error: unknown option '--hlep'; did you mean '--help'"),
        (["paint", "--colour=red"], "prog paint: error: unknown option '--colour'; did you mean '--color'"),
        (["paint", "--zzz", "1"], "prog paint: error: unknown option '--zzz'; `prog paint --help` lists them all"),
        (["paint", "--lay", "2"], "prog paint: error: unknown option '--lay'; did you mean '--layers'"),
        (["paint", "house"], "prog paint: error: unexpected argument 'house'"),
        (
            ["paint", "--color", "gren"],
            "argument --color: unknown value 'gren'; did you mean 'green'",
        ),
        (["paint", "--layers", "0"], "argument --layers: expected a whole number from 1 on, got '0'"),
        (["paint", "--layers", "1.5"], "argument --layers: expected a whole number from 1 on, got '1.5'"),
        (["paint", "--width"], "prog paint: error: argument --width: expected one argument"),
        (["plan"], "prog plan: error: the following arguments are required: PART"),
        (["plan", "build", "--sise", "3"], "prog plan build: error: unknown option '--sise'; did you mean '--size'"),
    ],
)
def test_mistakes_are_one_line_and_code_2(call, argv, line):
    code, out, err = call(*argv)
    assert (code, out) == (2, "")
    assert line in err
    assert err.count("\n") == 1


def test_a_user_error_is_one_line_and_code_2(call):
    code, out, err = call("paint", paint=raising(UserError("walls must be dry,\n got a wet one; wait")))
    assert (code, out, err) == (2, "", "prog paint: error: walls must be dry, got a wet one; wait\n")


def test_other_errors_are_not_hidden(call):
    with pytest.raises(ValueError, match="a bug"):
        call("paint", paint=raising(ValueError("a bug")))


def test_an_interruption_is_code_130(call):
    assert call("paint", paint=raising(KeyboardInterrupt())) == (130, "", "\nprog paint: interrupted\n")
    _, _, err = call("paint", paint=raising(KeyboardInterrupt()), resumes=True)
    assert err == "\nprog paint: interrupted; run the same command again to go on\n"


def test_help_and_version(call):
    code, out, err = call("--help")
    assert (code, err) == (0, "")
    assert "A program." in out
    assert "the command to paint" in out
    code, out, _ = call("paint", "--help")
    assert code == 0
    assert "--color" in out
    assert call("--version")[:2] == (0, f"next-scale {__version__}\n")


def test_help_and_version_load_nothing_heavy():
    program = """
import contextlib, importlib, io, json, sys
lines = []
for package in ("var", "diffusion_baseline"):
    cli = importlib.import_module(package + ".cli")
    for argv in (["--version"], ["--help"], *([name, "--help"] for name in cli.COMMANDS)):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert cli.main(argv) == 0, argv
        lines.append(out.getvalue())
    for name in cli.COMMANDS.values():
        module = importlib.import_module(name)
        assert module.HELP[0].islower() and callable(module.run) and callable(module.add_arguments)
print(json.dumps([sorted(sys.modules), lines]))
"""
    result = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    loaded, texts = json.loads(result.stdout)
    heavy = {"torch", "numpy", "timm", "accelerate", "huggingface_hub", "PIL", "einops", "tqdm", "jaxtyping"}
    assert heavy.isdisjoint(loaded)
    assert all(texts)


def test_a_reader_who_leaves_is_no_error():
    # The reading end is closed before the program writes.
    program = """
import sys, types
from var.command_line.frame import run
module = sys.modules["talk"] = types.ModuleType("talk")
module.HELP, module.add_arguments, module.run = "talk", lambda parser: None, lambda arguments: print("word " * 10**5)
sys.exit(run("prog", "A program.", {"talk": "talk"}, ["talk"]))
"""
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 141


@pytest.mark.parametrize("package", ["var", "diffusion_baseline"])
def test_the_module_is_the_program(package):
    command = [sys.executable, "-m", package, "--version"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (result.returncode, result.stdout, result.stderr) == (0, f"next-scale {__version__}\n", "")


FULL = "standard output must be writable, but: No space left on device; mend it"
TALK = """
import sys, types
from pathlib import Path
from var.command_line.frame import run

def work(arguments):
    print("before", "\\u00e9 \\x1b[2J" + "word " * WORDS)
    print("warned", file=sys.stderr)
    Path(sys.argv[1]).write_text("done")
    print("after")

module = sys.modules["talk"] = types.ModuleType("talk")
module.HELP, module.add_arguments, module.run = "talk", lambda parser: None, work
sys.exit(run("prog", "A program.", {"talk": "talk"}, ["talk"]))
"""


def talk(tmp_path, redirection, words=1, **environment):
    """Run a command that prints, writes a file and prints again, as a shell does with a `redirection`."""
    place = tmp_path / "result"
    (tmp_path / "talk.py").write_text(TALK.replace("WORDS", str(words)))
    command = f'"{sys.executable}" "{tmp_path / "talk.py"}" "{place}" {redirection}'
    given = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=given, check=False, timeout=60)
    return result, place.exists() and place.read_text() == "done"


@pytest.mark.parametrize("words", [1, 10**5])
@pytest.mark.parametrize(
    ("redirection", "code", "error"),
    [
        ("", 0, "warned\n"),
        (
            "> /dev/full",
            2,
            f"warned\nprog: error: {FULL}\n",
        ),
        ("2> /dev/full", 0, ""),
        ("> /dev/full 2>&1", 2, ""),
        (">&-", 0, "warned\n"),  # as cron has it
        ("2>&-", 0, ""),
        ("<&- >&- 2>&-", 0, ""),
        ("| true; exit ${PIPESTATUS[0]}", 141, "warned\n"),
    ],
)
def test_printing_never_ends_the_work(tmp_path, redirection, code, error, words):
    result, done = talk(tmp_path, redirection, words)
    assert done
    if "true" not in redirection or words > 1:  # a short text may have been taken by the pipe
        assert (result.returncode, result.stderr) == (code, error)


def test_a_closed_stream_is_not_taken_by_the_next_file(tmp_path):
    _, done = talk(tmp_path, ">&- 2>&-")
    assert done  # "after" and "warned" did not go into the result


def test_characters_that_the_output_does_not_know_are_written_as_codes(tmp_path):
    result, done = talk(tmp_path, "", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert (result.returncode, done) == (0, True)
    assert result.stdout.startswith("before \\xe9 \\x1b[2Jword")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device"), "the system must allow the work, but: No space left on device"),
        (
            FileNotFoundError(2, "No such file", "a\x1b[2J"),
            r"the system must allow the work, but: a\x1b[2J: No",
        ),
        (MemoryError(), "the work must fit into memory, but: MemoryError; ask for less at once"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: 88 GB"),
            "the work must fit into memory, but: D",
        ),
        (UserError("a\x1b[2Jb\nc\rd"), r"a\x1b[2Jb c d"),
    ],
)
def test_what_the_system_refuses_is_one_line_too(call, error, line):
    code, out, err = call("paint", paint=raising(error))
    assert (code, out) == (2, "")
    assert err.startswith(f"prog paint: error: {line}")
    assert err.count("\n") == 1


def test_paths_begin_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/the/home")
    assert file_path("~/a") == Path("/the/home/a")
    for text in ("", "a\0b", "~nobody-of-this-name/a"):
        with pytest.raises(argparse.ArgumentTypeError, match="a path must be a text"):
            file_path(text)


@pytest.mark.parametrize("text", ["9" * 5000, "-1", "1_000", "٣", "1.0", "", "-", "--1", " 1"])
def test_what_is_no_whole_number(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a whole number from 0 on, got"):
        whole_number()(text)


@pytest.mark.parametrize("text", ["nan", "inf", "1e400", "1_0", "٣", "", "1,5", "one", "1" * 5000])
def test_what_is_no_number(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number, got"):
        number(text)
