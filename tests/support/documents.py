"""The documents as readers use them: their blocks of code, taken apart, shortened and run."""

import contextlib
import importlib
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(?:<!-- not run: ([^\n]*?) -->\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

SHORTER = (
    (r"(?<=--seeds )(\d+)-\d+", lambda found: f"{found[1]}-{int(found[1]) + 1}"),  # two seeds instead of many
    (r"(?<=--count )\d+", "24"),
    (r"(?<=steps )\d+", "2"),
    (r"(?<=num_inference_steps=)\d+", "2"),
    (r"(?<=resampling=)\d+", "1"),
    (r"(?<=[ (]steps=)\d{3,}", "2"),  # of trainings
    (r"(?<=_steps=)\d{3,}", "2"),
    (r"(?<=batch_size=)16", "4"),
    (r"(?<=\* )20\b", "2"),  # of each class
    (r"(?<=seeds=)range\(\d+\)", "range(2)"),
    (r"(?<=train_classifier\(digits\(\"train\"\))", ", steps=2, progress=False"),
)
"""How texts are made to cost less; what they do stays."""

SMALL = {
    "": "training.steps=2 training.batch_size=4 training.log_every=2 training.optimizer=adamw",
    "judged": "evaluation.every=2 evaluation.samples=24 evaluation.judge_steps=2",
    "unjudged": "evaluation.every=0",
    "vqvae": "vqvae.base_channels=4 vqvae.norm_groups=2 vqvae.width=4 vqvae.vocabulary=16",
    "autoencoder": "autoencoder.base_channels=4 autoencoder.norm_groups=2",
    "transformer": "transformer.depth=1 transformer.width=16 transformer.heads=2 tokens.variants=1",
    "decoder": "samples=4 losses.patch_channels=4",
    "unet": "unet.base_channels=8 unet.head_width=8 unet.embedding_width=8 unet.norm_groups=2",
    "classifier": "classifier.base_channels=8 classifier.embedding_width=8 classifier.norm_groups=2",
}
"""What trainings are given besides."""


@dataclass(frozen=True)
class Block:
    """A block of code of a page; `excuse` says why it is not run."""

    page: Path
    line: int
    language: str
    text: str
    excuse: str | None

    @property
    def commands(self):
        """The commands of a shell's block, without comments."""
        text = re.sub(r"\\\n\s*", " ", self.text)
        parts = (part.strip() for line in text.splitlines() for part in line.split(" && "))
        return [part for part in parts if part and not part.startswith("#")]


def pages():
    """The documents with code that is run."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def name(page):
    """What a page is called among all."""
    return str(page.relative_to(ROOT))


def blocks(page):
    """The blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found[2], found[3], found[1])
        for found in FENCE.finditer(text)
    ]


def links(page):
    """The targets of links and pictures of a page, outside of code."""
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page):
    """The names by which the headings of a page are linked to."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def shorter(text):
    """The text with smaller numbers."""
    for pattern, replacement in SHORTER:
        text = re.sub(pattern, replacement, text)
    return text


def program(words):
    """What a command is of: a module with a command line, and its arguments; None for what is not ours."""
    if words[0] == "var":
        return "var.cli", words[1:]
    if words[:3] == ["python", "-m", "diffusion_baseline"]:
        return "diffusion_baseline.cli", words[3:]
    if words[:3] == ["python", "-m", "torch.distributed.run"] or words[0] in ("accelerate", "srun"):
        at = max(place for place, word in enumerate(words) if word == "-m")
        return program(["python", "-m", *words[at + 1 :]] if words[at + 1] != "var" else words[at + 1 :])
    return None


def check(words):
    """Raise unless the command line takes these words; nothing is done."""
    from var.command_line.frame import CommandParser

    at = next((place for place, word in enumerate(words) if word.startswith("scripts/")), None)
    if words[0] == "accelerate" and at is not None:
        words = ["python", *words[at:]]
    if words[:2] == ["pip", "install"]:
        import tomllib

        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        asked = re.findall(r"\[([\w,]+)\]", " ".join(words))
        assert set(",".join(asked).split(",")) - {""} <= extras.keys(), words
    elif words[0] == "python" and words[1].startswith("scripts/"):
        assert (ROOT / words[1]).exists(), words
        if words[1] == "scripts/compare.py":
            importlib.import_module("compare")._options(words[2:])
    elif (found := program(words)) is not None:
        cli, (name, *rest) = importlib.import_module(found[0]), found[1]
        parser = CommandParser(prog=name)
        importlib.import_module(cli.COMMANDS[name]).add_arguments(parser)
        parser.parse_args(rest)


def small(words):
    """The words of a training with settings that make it cheap; others as they are."""
    if words[:2] == ["var", "train"]:
        kind = words[2]
    elif words[:3] == ["python", "-m", "diffusion_baseline"] and words[3].startswith("train"):
        kind = "classifier" if "classifier" in words[3] else "unet"
    else:
        return words
    parts = ("", "judged" if words[-1] == "runs/var" else "unjudged", kind)
    return [*words, *(word for part in parts for setting in SMALL[part].split() for word in ("--set", setting))]


def run(command, folder):
    """Run a command in the folder, which is the current one."""
    words = shlex.split(command, comments=True)
    check(words)
    if words[:2] == ["pip", "install"]:
        return  # the extras that it names were looked at
    if (found := program(small(words))) is None:
        subprocess.run(["bash", "-c", command], cwd=folder, check=True, timeout=60)
        return
    cli, arguments = found
    quiet = [] if arguments[0] in ("codec", "report") else ["--quiet"]
    code = importlib.import_module(cli).main([*arguments, *quiet])
    assert code == 0 or (code, arguments[0]) == (1, "doctor"), f"{command!r} ended with code {code}"


@contextlib.contextmanager
def snippets(page):
    """Run blocks of Python of a page, one after the other, in one module: as if they stood in one file."""
    module = ModuleType(f"snippets_of_{page.stem.replace('-', '_')}")
    sys.modules[module.__name__] = module

    def run_python(block):
        code = compile("\n" * block.line + shorter(block.text), str(block.page), "exec")
        exec(code, module.__dict__)

    try:
        yield run_python
    finally:
        del sys.modules[module.__name__]
