"""README and docs: every command and snippet runs, every link leads somewhere.

Sizes are reduced by the rules of `documents.SHORTER` and `documents.SMALL`. What is not run says why in a comment
before it; its command lines are parsed all the same, and its Python compiled. The page on training is run first: the
others stand on its runs.
"""

import re
import shlex
import warnings
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain

import documents
import pytest
import yaml
from documents import ROOT, blocks, pages

from diffusion_baseline.samplers import SAMPLERS
from var.data.named import NAMED
from var.evaluation import RankDeficientWarning, table

TRAIN = ROOT / "docs" / "train.md"
EXTERNAL = {
    "https://arxiv.org/abs/2404.02905",
    "https://github.com/NVlabs/DDO",
    "https://github.com/thu-ml/CCA",
    "https://openmoji.org",
}
"""Addresses that pages name; nobody fetches them here."""


@contextmanager
def as_before():
    """What examples add to tables is taken out again."""
    samplers, named, scores = dict(SAMPLERS), dict(NAMED), table.TABLE
    try:
        yield
    finally:
        for owner, kept in ((SAMPLERS, samplers), (NAMED, named)):
            owner.clear()
            owner.update(kept)
        table.TABLE = scores


def run_page(page, folder):
    """Run all blocks of a page in the folder, which is the current one."""
    with documents.snippets(page) as run_python, as_before(), warnings.catch_warnings():
        warnings.simplefilter("ignore", RankDeficientWarning)  # few samples
        for block in blocks(page):
            if block.excuse is None and block.language == "python":
                run_python(block)
            elif block.excuse is None and block.language == "bash":
                for command in replace(block, text=documents.shorter(block.text)).commands:
                    documents.run(command, folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the page on training has been run."""
    folder = tmp_path_factory.mktemp("reader")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_page(TRAIN, folder)
    return folder


def test_the_page_on_training_runs(folder):
    assert (folder / "runs" / "var" / "pipeline_index.json").exists()


@pytest.mark.parametrize("page", [page for page in pages() if page != TRAIN], ids=documents.name)
def test_a_page_runs(page, folder, monkeypatch, tmp_path):
    for name in ("my-images", "runs"):
        (tmp_path / name).symlink_to(folder / name)
    monkeypatch.chdir(tmp_path)
    run_page(page, tmp_path)


@pytest.mark.parametrize("page", pages(), ids=documents.name)
def test_what_is_not_run_is_right_too(page):
    for block in blocks(page):
        assert block.language in ("bash", "python", "text"), f"{page.name}:{block.line} says no language"
        assert block.excuse is None or len(block.excuse) > 10, f"{page.name}:{block.line} must say why it is not run"
        if block.language == "python":
            compile(block.text, page.name, "exec")
        elif block.language == "bash":
            for command in block.commands:
                documents.check(shlex.split(command, comments=True))
        for test in re.findall(r"tests/[\w/]+(?:\.py)?", block.excuse or ""):
            assert (ROOT / test).exists(), test


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 140
    assert text.count("![") == 1


def test_examples_of_the_architecture_fit_a_screen():
    examples = [block for block in blocks(ROOT / "docs" / "architecture.md") if block.language == "python"]
    assert len(examples) >= 5
    assert all(len(re.findall(r"^.+$", block.text, re.MULTILINE)) <= 40 for block in examples)
    assert all(block.excuse is None for block in examples)


def test_links_lead_somewhere():
    external = set()
    for page in [*pages(), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]:
        for link in documents.links(page):
            if re.match(r"https?://", link):
                external.add(link)
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            assert target.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in documents.anchors(target), f"{page.name}: {link}"
    assert external == EXTERNAL


def test_every_page_and_picture_is_shown():
    docs = ROOT / "docs"
    nav = yaml.safe_load((docs / "site" / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    shown = [*chain(*map(dict.values, nav))]
    for pages_of in [each for each in shown if not isinstance(each, str)]:
        shown.remove(pages_of)
        shown += chain(*map(dict.values, pages_of))
    assert sorted(shown) == sorted(str(page.relative_to(docs)) for page in docs.rglob("*.md"))
    linked = {(page.parent / link).resolve() for page in pages() for link in documents.links(page)}
    assert {path for path in (docs / "images").iterdir() if path not in linked} == set()


def test_the_drawing_of_the_floors_is_that_of_the_contracts():
    from draw_docs import floors

    drawn = floors((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shown = (ROOT / "docs" / "images" / "floors.svg").read_text(encoding="utf-8")
    assert shown == drawn, "draw it anew: python scripts/draw_docs.py docs/images"
