"""What all scripts have in common: help at once, a line for a mistake, and their parts found wherever Python looks."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
NAMES = sorted(path.stem for path in SCRIPTS.glob("*.py"))
DRAWING = [name for name in NAMES if name.startswith("draw_")]
HEAVY = ("torch", "playwright", "numpy", "diffusion_baseline.pipeline")


def test_the_scripts_that_draw_are_found():
    assert DRAWING == ["draw_app", "draw_beside", "draw_docs", "draw_edits"]


@pytest.mark.parametrize("name", NAMES)
def test_help_is_help_and_unknown_options_are_refused(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main = importlib.import_module(name).main
    assert main(["--help"]) == 0
    assert capsys.readouterr().out.startswith(f"usage: {name}.py ")
    assert main(["--hlep", "one", "two", "three", "four"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", DRAWING)
def test_what_is_not_given_is_named(name, capsys):
    assert importlib.import_module(name).main([]) == 2
    assert f"{name}.py: error: the following arguments are required" in capsys.readouterr().err


def test_help_imports_nothing_heavy():
    """A process for all, as the modules of this one are loaded already."""
    code = f"""
import sys
sys.path[:0] = {[str(SCRIPTS), str(SCRIPTS.parent)]!r}
for name in {DRAWING!r}:
    assert __import__(name).main(["--help"]) == 0
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def test_without_a_browser_the_package_is_named(capsys, monkeypatch, tmp_path):
    import draw_app

    monkeypatch.setattr(draw_app, "find_spec", lambda name: None)
    assert draw_app.main(["report.json", str(tmp_path)]) == 2
    said = 'draw_app.py: error: the browser needs playwright, which is missing; pip install "next-scale[test]"\n'
    assert capsys.readouterr().err == said


def test_a_sheet_is_drawn(capsys, tmp_path):
    import draw_beside

    models = ["next-scale/digits", "next-scale/digits"]
    path = tmp_path / "sheets" / "digits.png"
    assert draw_beside.main(["digits", *models, str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.split() == list("0123456789")
