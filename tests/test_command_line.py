"""The frame of the command lines: what is said, where, and with which exit code."""

import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from var import __version__
from var.command_line.frame import one_of, run, whole_number
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
