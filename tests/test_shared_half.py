"""The shared half of `var` knows no model: neither names of its code nor its texts speak of one."""

import ast
import re
from pathlib import Path

import pytest

VAR = Path(__file__).parents[1] / "var"

# All but the half that is VAR, and the doors of both halves: what is added later is shared until it is named here.
STAGES = {"transformer", "vqvae", "tokenizer", "scales"}
VARS = STAGES | {"app", "doctor", "recipes", "generation", "original", "models"}
DOORS = {"__init__", "__main__", "cli", "commands"}
SHARED = sorted({path.stem for path in VAR.iterdir() if path.suffix in ("", ".py")} - VARS - DOORS - {"__pycache__"})

# Parts of names and words of texts; "var" alone is the package and its command, VAR is the model.
CAPITALS = r"(?<![A-Z])(?:VAR|VQ-?VAE|VQ|U-?Net|DDPM|DDIM|DPM|Diffusion|Transformers?|Tokenizers?)"
SMALL = r"(?<![A-Za-z])(?:vq-?vae|unet|ddpm|ddim|dpmpp|unipc|diffusion|transformers?|tokenizers?)"
WORD = re.compile(rf"(?:{CAPITALS}|{SMALL})(?![a-z])")

ALLOWED = {
    "evaluation/sets/protocols.py": "the table of published protocols, of both paradigms",
    "training/optimization.py: '; (0.9, 0.95) is usual for transformers'": "advice: betas of the literature",
    "text/pretrained.py": "the library of that name, and its classes",
    "text/sentences.py": "the library that cuts texts into pieces",
    "hub/remote/downloads.py: 'vqvae'": "the example of a subfolder in an error's remedy",
}


def names_of_models(path):
    """Names in the code of a file and its texts, docstrings left out, that speak of a model."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = set()
    for node in ast.walk(tree):
        words = [getattr(node, field, None) for field in ("id", "attr", "name", "arg", "asname", "module")]
        if isinstance(node, ast.Constant) and id(node) not in prose:
            words.append("VAR" if node.value == "var" else node.value)
        found |= {word for word in words if isinstance(word, str) and WORD.search(word)}
    return sorted(found)


@pytest.mark.parametrize("name", SHARED)
def test_it_speaks_of_no_model(name):
    folder = VAR / name
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    assert files
    for path in files:
        place = path.relative_to(VAR).as_posix()
        words = [] if place in ALLOWED else names_of_models(path)
        found = [word for word in words if f"{place}: {word!r}" not in ALLOWED]
        assert not found, f"{place} names models: {found}; say it without, or move it to the half that knows them"


def test_what_is_allowed_is_still_there():
    for entry in ALLOWED:
        place, _, word = entry.partition(": ")
        found = names_of_models(VAR / place)
        assert found if not word else word in map(repr, found), f"{entry} needs no exception any more"


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("class VQVAETask: ...", True),
        ("def sample_ddim(): ...", True),
        ("from var.transformer import Block", True),
        ("x = {'model': 'var'}", True),
        ("text = 'draws tokens by a U-Net'", True),
        ("class TransformerRun: ...", True),
        ("OfficialVQVAE()", True),
        ("COVARIANCE = 1", False),
        ("'''As VAR does.'''", False),
        ("from var.files import sweep", False),
        ("transform = variance(vary)", False),
        ("print('`var train` goes on')", False),
    ],
)
def test_names_are_told_from_prose(tmp_path, code, named):
    (tmp_path / "x.py").write_text(code)
    assert bool(names_of_models(tmp_path / "x.py")) == named
