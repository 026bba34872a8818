"""The notebooks of docs run from the first cell to the last, at sizes that `SHORTER` and `documents.SHORTER` reduce."""

import json
import re

import pytest
from documents import ROOT, shorter

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
SHORTER = (
    (r"(?<=\"--count\", \")\d+", "24"),
    (r"training\.steps=\d+", "training.steps=2"),
    (r"\"evaluation\.every=0\"", '"evaluation.every=0", "--set", "training.batch_size=4"'),
)


def cells(path, kind):
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


@pytest.mark.filterwarnings("ignore")  # of Jupyter's packages
def test_notebooks_run(tmp_path, monkeypatch):
    """All in one process, since the start of one takes longer than what they do."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    import nbformat
    from nbclient import NotebookClient

    whole = nbformat.v4.new_notebook()
    for path in NOTEBOOKS:
        for cell in cells(path, "code"):
            source = shorter("".join(cell["source"]))
            for pattern, replacement in SHORTER:
                source = re.sub(pattern, replacement, source)
            whole.cells.append(nbformat.v4.new_code_cell(source))
        whole.cells.append(nbformat.v4.new_code_cell("%reset -f"))
    NotebookClient(whole, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    pictures = [out for cell in whole.cells for out in cell.get("outputs", []) if "image/png" in out.get("data", {})]
    assert len(pictures) >= 7


def test_there_are_three_and_each_says_what_it_is():
    assert len(NOTEBOOKS) == 3
    for path in NOTEBOOKS:
        first = "".join(cells(path, "markdown")[0]["source"])
        assert first.startswith("# ")
        for link in re.findall(r"\]\(([^)#]+)\)", first):
            assert (path.parent / link).exists(), link
