"""The notebooks of docs run from the first cell to the last, at sizes that `SHORTER` and `documents.SHORTER` reduce."""

import json
import re

import nbformat
from documents import ROOT, shorter

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SHORTER = (
    (r"(?<=\"--count\", \")\d+", "24"),
    (r"training\.steps=\d+", "training.steps=2"),
    (r"\"evaluation\.every=0\"", '"evaluation.every=0", "--set", "training.batch_size=4"'),
)


def cells(path, kind):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def test_notebooks_run(forker, tmp_path):
    """All in one process, since the start of one takes longer than what they do."""
    for path in NOTEBOOKS:
        nbformat.validate(nbformat.read(path, as_version=4))
    whole = [[small("".join(cell["source"])) for cell in cells(path, "code")] for path in NOTEBOOKS]
    (tmp_path / "reader").mkdir()
    forker.run("notebook_cells.run", tmp_path / "log", whole, tmp_path / "reader", tmp_path / "report.json")
    assert sum(json.loads((tmp_path / "report.json").read_text())) >= 7


def small(source):
    """A cell with smaller numbers."""
    source = shorter(source)
    for pattern, replacement in SHORTER:
        source = re.sub(pattern, replacement, source)
    return source


def test_there_are_three_and_each_says_what_it_is():
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        first = "".join(cells(path, "markdown")[0]["source"])
        assert first.startswith("# ")
        for link in re.findall(r"\]\(([^)#]+)\)", first):
            assert (path.parent / link).exists(), link
