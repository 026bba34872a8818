"""The conversion by hand: what it writes, and one line for every mistake."""

import importlib.util
import sys
from pathlib import Path

import official_layout
import pytest
import torch
from half_folders import begun

from var import VARPipeline

ROOT = Path(__file__).parents[2]


def module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


script = module(ROOT / "scripts" / "convert_original.py")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("official")
    vqvae, transformer = official_layout.official_pair(3, sides=(1, 2), width=32, heads=2, depth=1, l2_attention=False)
    for name, weights in (("vae.pth", vqvae), ("var.pth", transformer)):
        torch.save(weights, folder / name)
    return [str(folder / name) for name in ("vae.pth", "var.pth")]


def test_it_writes_what_from_original_gives(files, tmp_path, capsys):
    output = tmp_path / "new" / "pipeline"
    assert script.main([*files, str(output), "--num-heads", "2", "--normalize-codes", "--dtype", "bf16"]) == 0
    out, err = capsys.readouterr()
    assert "depth 1, width 32, 2 heads" in out
    assert "weights" in err  # the bar
    loaded = VARPipeline.from_pretrained(output, dtype=torch.bfloat16)
    expected = VARPipeline.from_original(*files, num_heads=2, normalize_codes=True, dtype=torch.bfloat16)
    assert loaded.transformer.config == expected.transformer.config
    assert loaded.vqvae.config == expected.vqvae.config
    for part in ("vqvae", "transformer"):
        ours, theirs = getattr(loaded, part).state_dict(), getattr(expected, part).state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{vae}", "{var}", "{new}"], "pass num_heads"),
        (["{var}", "{vae}", "{new}"], "must be an official transformer, got a tokenizer"),
        (["{vae}", "nowhere.pth", "{new}"], "there is no nowhere.pth"),
        (["{vae}", "{var}", "{full}"], "must be a new or an empty folder"),
        (["{vae}", "{var}", "{new}", "--sides", "1,x"], "--sides must be whole numbers such as 1,2,4, got '1,x'; "),
        (["{vae}", "{var}", "{new}", "--sides", "1,3"], "have 10 positions, but pos_1LC has 5"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(files, tmp_path, capsys, arguments, message):
    full, new = tmp_path / "full", tmp_path / "new"
    full.mkdir()
    (full / "notes.txt").write_text("mine")
    places = {"vae": files[0], "var": files[1], "full": full, "new": new}
    assert script.main([argument.format(**places) for argument in arguments] + ["--no-progress"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("convert_original.py: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert not new.exists()
    assert [file.name for file in full.iterdir()] == ["notes.txt"]


def test_what_a_killed_conversion_left_is_swept(files, tmp_path):
    """F20, in the place where the converted model will lie; what others write there stays."""
    output = tmp_path / "pipeline"
    for name in ("pipeline", "other"):
        process = begun(output.with_name(name))
        process.kill()
        process.wait()
    assert script.main([*files, str(output), "--num-heads", "2", "--no-progress"]) == 0
    VARPipeline.from_pretrained(output)
    assert sorted(path.name.split(".")[1] for path in tmp_path.glob(".*")) == ["other"]


def test_unknown_options_are_refused(capsys):
    assert script.main(["a", "b", "c", "--dtype", "int3"]) == 2
    assert "fp32" in capsys.readouterr().err


def test_help_imports_no_torch():
    import subprocess

    command = [sys.executable, "-X", "importtime", "scripts/convert_original.py", "--help"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert "VQVAE" in result.stdout.upper()
    assert " torch" not in result.stderr
