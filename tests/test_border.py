"""The border: what comes from outside is opened and parsed in `var/foreign`, what is written goes through `var/files`.

Each place of its own would have rules of its own, and most of the faults that were found stood at such places.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSIDE = {"var/files.py", *(path.relative_to(ROOT).as_posix() for path in (ROOT / "var" / "foreign").glob("*.py"))}
FILES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("var", "diffusion_baseline", "scripts")
    for path in (ROOT / folder).rglob("*.py")
    if path.relative_to(ROOT).as_posix() not in INSIDE
)

# Calls that open, parse or write, by their last names; of a module where the name alone is used otherwise.
CALLS = {
    *("open", "read_text", "read_bytes", "write_text", "write_bytes", "fdopen", "FileIO", "mkstemp"),
    *(
        "safe_open",
        "load_file",
        "save_file",
        "ZipFile",
        "is_zipfile",
        "savez",
        "savez_compressed",
        "fromfile",
        "tofile",
    ),
    *("memmap", "genfromtxt", "loadtxt", "savetxt", "safe_load", "safe_dump"),
}
OF_MODULES = {
    "json": {"load", "loads"},
    "yaml": {"load", "compose", "dump", "load_all"},
    "np": {"load", "save"},
    "numpy": {"load", "save"},
    "torch": {"load", "save"},
    "pickle": {"load", "loads", "dump"},
    "tarfile": {"open", "TarFile"},
    "zipfile": {"ZipFile", "Path"},
    "os": {"open", "replace", "rename"},
    "shutil": {"copy", "copyfile", "copytree", "move"},
}
OURS = {"var.files": {"write_text", "write_json"}, "var.foreign.regular": {"read_text", "read_bytes"}}
ALLOWED: dict[str, dict[str, str]] = {
    "var/nested.py": {"json.loads": "a copy of our own values, as JSON has them"},
    "var/typed.py": {"json.loads": "a list in the text of one setting; the floor is below the border"},
    "scripts/benchmarking/measuring.py": {"read_text": "counters of the kernel", "write_text": "the same"},
    "var/command_line/streams.py": {"open": "the place that leads nowhere", "os.open": "the same"},
    "var/evaluation/features/inception.py": {"torch.save": "into memory, for a constructor that reads files alone"},
    "var/evaluation/features/published_weights.py": {"open": "a download, into a file that appears when it is checked"},
    "var/evaluation/report/html.py": {"read_text": "the style sheet of the package"},
    "var/hub/locking.py": {"os.open": "a folder, to lock it; nothing of it is read"},
}
"""Calls outside the border, by file, and why."""


def crossings(path):
    """The calls in a file that open, parse or write, as "name" or "module.name", with their lines."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    ours = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in OURS.get(node.module or "", ())
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Name) and function.id in CALLS - ours:
            yield function.id, node.lineno
        elif isinstance(function, ast.Attribute):
            module = function.value.id if isinstance(function.value, ast.Name) else ""
            if function.attr in OF_MODULES.get(module, ()):
                yield f"{module}.{function.attr}", node.lineno
            elif function.attr in CALLS and module not in OF_MODULES:
                yield function.attr, node.lineno


@pytest.mark.parametrize("path", FILES)
def test_nobody_else_opens_parses_or_writes(path):
    found = {(name, line) for name, line in crossings(path) if name not in ALLOWED.get(path, ())}
    assert not found, f"{path} crosses the border: {sorted(found)}; use var.foreign or var.files"


def test_what_is_allowed_is_needed():
    for path, names in ALLOWED.items():
        assert set(names) == {name for name, _ in crossings(path)}, path


def test_crossings_are_found(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text(
        "import json, os\nfrom var.files import write_text\nfrom PIL import Image\n"
        "write_text('a', 'b')\njson.loads('x')\npath.write_text('x')\nopen('x')\nImage.open('x')\n"
        "os.open('x', 0)\njson.dumps(1)\n"
    )
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    assert sorted(crossings("a.py")) == [
        ("json.loads", 5),
        ("open", 7),
        ("open", 8),
        ("os.open", 9),
        ("write_text", 6),
    ]
