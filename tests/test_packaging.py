"""The floors of the packages, what importing costs, and the names that users rely on."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import var

ROOT = Path(__file__).parents[1]
LINTER = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]


def in_new_process(code):
    """What `code` prints, as JSON, run where nothing was imported yet."""
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_the_floors_hold():
    # In a process of its own: import-linter's set-up of logging disables all loggers that exist already.
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))",
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("package", ["var", "diffusion_baseline"])
def test_every_module_stands_on_a_floor(package):
    contract = next(c for c in LINTER["contracts"] if c["name"] == f"The floors of {package}")
    floors = {name.strip() for layer in contract["layers"] for name in layer.split("|")}
    modules = {
        f"{package}.{path.stem}"
        for path in (ROOT / package).iterdir()
        if path.stem != "__init__" and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    assert modules == floors


def test_the_forbidden_directions_are_in_the_contracts():
    forbidden = {
        (source, target)
        for contract in LINTER["contracts"]
        if contract["type"] == "forbidden"
        for source in contract["source_modules"]
        for target in contract["forbidden_modules"]
    }
    above = {"var.recipes", "var.generation", "var.original", "var.transformer", "var.vqvae", "var.scales"}
    assert forbidden >= {("diffusion_baseline", name) for name in above} | {("var", "diffusion_baseline")}


def test_importing_the_baseline_loads_no_model_of_var(forker, tmp_path):
    loaded = json.loads(forker.run("processes.show_modules_with", tmp_path / "log", "diffusion_baseline"))
    assert "diffusion_baseline.unet" in loaded
    assert "diffusion_baseline.pipeline" in loaded
    assert "var.errors" in loaded
    above = ("var.transformer", "var.vqvae", "var.generation", "var.original", "var.recipes", "var.scales")
    assert [name for name in loaded if name.startswith(above)] == []


def test_importing_var_is_cheap():
    loaded = in_new_process("import json, sys, var\nprint(json.dumps(sorted(sys.modules)))")
    assert "var" in loaded
    heavy = ("torch", "numpy", "timm", "accelerate", "huggingface_hub", "PIL", "einops", "tqdm", "var.")
    assert [name for name in loaded if name.startswith(heavy)] == ["var.lazy", "var.version"]


def test_public_names_resolve():
    wanted = {"VAR", "VQVAE", "VARPipeline", "ScaleSchedule", "VARConfig", "VQVAEConfig"}
    assert wanted <= set(var.__all__)
    for name in wanted:
        assert getattr(var, name).__name__ == name
    assert set(var.__all__) <= set(dir(var))
    assert var.VARPipeline is sys.modules["var.generation.pipeline"].VARPipeline
    with pytest.raises(AttributeError, match=r"no attribute 'VARR'.*VARPipeline"):
        var.VARR  # noqa: B018


def test_the_distribution_has_the_version_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == "next-scale"
    assert project["version"] == var.__version__


def test_no_module_is_a_drawer_for_everything():
    folders = ("var", "diffusion_baseline", "scripts")
    names = {path.stem for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in ("", ".py")}
    assert "scales" in names
    assert names & {"utils", "util", "helpers", "helper", "common", "misc"} == set()
