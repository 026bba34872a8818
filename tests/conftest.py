"""Shape annotations are enforced while the tests run; no test may leave the global random state to chance."""

import gc
import os
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that wants the Hub serves one on loopback
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of all processes that tests start: each core has one of its own

import annotations
import pytest
from processes import Forker, without_waiting_for_disks

annotations.install("var", "diffusion_baseline")
without_waiting_for_disks()


def pytest_sessionstart(session):
    """Third-party imports may warn; our own code may not. Whoever only hands out tests imports nothing heavy."""
    if not session.config.getoption("numprocesses"):
        gc.disable()  # until the tests are collected: nothing of all that is imported for them is garbage
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import accelerate  # noqa: F401
            import timm.layers  # noqa: F401


def pytest_collection_finish():
    """What is there now stays: no collection of garbage looks through it again, and the others are rarer."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)  # with the usual 700, 10, 10 a 25th of all time goes there
    gc.enable()


def pytest_sessionfinish():
    """What nobody closed comes to light in one collection; pytest makes five, each of which takes most of a second."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items):
    """The longest file first: where files are spread over processes, none waits for it at the end."""
    items.sort(key=lambda item: item.path.name != "test_scripts_compare.py")


@pytest.fixture(autouse=True)
def _quiet_and_deterministic():
    """One thread (so that sums have one order), and a global stream that no test shares with another."""
    import torch

    torch.set_num_threads(1)
    # Where no GPU is in use, torch.manual_seed writes down for one from where it was called: 0.5 ms.
    (torch if torch.cuda.is_initialized() else torch.default_generator).manual_seed(0)


@pytest.fixture
def _untyped():
    """Users meet our message, not the type checker's."""
    with annotations.unchecked():
        yield


@pytest.fixture(scope="session")
def forker():
    """Starts functions in processes that have imported everything."""
    forker = Forker()
    yield forker
    forker.close()


@pytest.fixture
def shared_cases():
    """Folder of the golden reference files."""
    from pathlib import Path

    return Path(__file__).parent / "golden"


def pytest_addoption(parser):
    """How many files of each kind are mangled."""
    parser.addoption("--mangled", type=int, default=15, help="mangled files of each kind (tests/test_mangled_files.py)")
