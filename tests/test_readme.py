"""The README's commands and code are the ones that are checked."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_check_runs_the_readme_test_command():
    readme = (ROOT / "README.md").read_text()
    check = (ROOT / ".ci" / "run").read_text()
    assert 'pip install -e ".[test]" && pytest' in readme
    assert re.search(r'^pip install --quiet -e "\.\[test\]"$(?:.*\n)*?^pytest$', check, re.MULTILINE)


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_files_named_in_the_documents_exist(name):
    text = (ROOT / name).read_text()
    paths = re.findall(r"`((?:var|diffusion_baseline|scripts|tests)/[\w/]*(?:\.py)?)`", text)
    assert paths
    missing = [path for path in paths if not (ROOT / path).exists()]
    assert not missing


def test_python_in_the_readme_compiles():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")
