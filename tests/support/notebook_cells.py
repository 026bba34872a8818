"""Cells of notebooks, run in IPython's shell in a process that has imported torch: a kernel's start takes longer."""

import json
import os
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config


def run(notebooks, folder, report):
    """Run notebooks, each a list of the texts of its cells, in a folder; stops at the first cell that fails.

    The file `report` gets, for each notebook, how many of its cells show a picture. Each begins without the names of
    those before.
    """
    os.chdir(folder)
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    pictures = []
    for cells in notebooks:
        shell.reset(new_session=False)
        shown = [_shown(shell, cell) for cell in cells]
        pictures.append(sum("image/png" in kinds for kinds in shown))
    Path(report).write_text(json.dumps(pictures))


def _shown(shell, cell):
    """The kinds of data that the value of a cell is shown as."""
    result = shell.run_cell(cell, store_history=False)
    result.raise_error()
    return shell.display_formatter.format(result.result)[0].keys()
