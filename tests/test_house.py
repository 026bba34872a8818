"""The numbers of CONTRIBUTING.md's last table: what keeps a house in which one finds the room."""

import ast
import re
import sys
import traceback
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PLAN = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def imports():
    """For each module of both packages, the modules that it imports, at its top or inside a function."""
    graph = grimp.build_graph("var", "diffusion_baseline", cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def circles(imports):
    """The groups of modules that import each other (strongly connected components of more than one; Tarjan 1972)."""
    number, lowest, stack, found = {}, {}, [], []

    def visit(module):
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for other in sorted(imports[module]):
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(sorted(group))

    for module in sorted(imports):
        if module not in number:
            visit(module)
    return found


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == [["b", "c"]]


def test_no_imports_go_in_a_circle(imports):
    assert len(imports) > 100
    assert circles(imports) == []


def test_few_rooms_are_seen_on_opening_evaluation():
    rooms = [path.name for path in (ROOT / "var" / "evaluation").iterdir() if path.name != "__pycache__"]
    assert "scores.py" in rooms
    assert len(rooms) <= 9


def test_few_hops_lead_from_train_to_the_loss():
    from tiny import tiny_vqvae

    from var.data import digits
    from var.recipes.vqvae.task import VQVAETask
    from var.training import TrainingConfig, train

    seen = []

    class Spy(VQVAETask):
        def loss(self, *arguments):
            if not seen:
                seen.extend(traceback.extract_stack(sys._getframe()))
            return super().loss(*arguments)

    train(Spy(tiny_vqvae(sides=(1, 2, 4))), digits("train"), TrainingConfig(steps=1, batch_size=4), progress=False)
    own = [frame for frame in seen if str(ROOT / "var") in frame.filename]
    own = own[next(place for place, frame in enumerate(own) if frame.name == "train") :]
    assert [frame.name for frame in own][:1] == ["train"]
    assert len(own) <= 4  # from each to the next is a hop, and the last one calls the loss
    assert len({frame.filename for frame in own}) <= 3  # the loop, the state, the network


def lines_of(function):
    """Lines of a function, its signature among them, but not its docstring."""
    first = function.body[0]
    told = first.end_lineno - first.lineno + 1 if ast.get_docstring(function, clean=False) is not None else 0
    return function.end_lineno - function.lineno + 1 - told


def test_a_function_is_one_screen_and_a_file_one_subject():
    found = 0
    for path in (path for folder in ("var", "diffusion_baseline", "scripts") for path in (ROOT / folder).rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 300, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                found += 1
                assert lines_of(node) <= 50, f"{path}: {node.name}"
    assert found > 3000


def test_the_plan_names_every_room():
    for folder in ("var", "diffusion_baseline"):
        for path in (ROOT / folder).iterdir():
            if path.is_dir() and path.name not in ("__pycache__", "commands"):
                assert re.search(rf"`(?:[\w/]+/)?{path.name}/`", PLAN), (
                    f"docs/architecture.md does not say what {path} is for"
                )
