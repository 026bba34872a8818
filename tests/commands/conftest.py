"""Folders of saved pipelines, and a way to run a command line in this process."""

import importlib

import pytest
from tiny import NAMES, tiny_diffusion_pipeline, tiny_pipeline


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """Folders of a pipeline for each of the two packages; no test may change them."""
    folders = {}
    for package, build in (("var", tiny_pipeline), ("diffusion_baseline", tiny_diffusion_pipeline)):
        folders[package] = tmp_path_factory.mktemp(package) / "model"
        build(class_names=NAMES).save_pretrained(folders[package])
    return folders


@pytest.fixture
def command(capsys):
    """Run a package's command line; returns the exit code and what it wrote to both streams."""

    def command(package, *argv):
        code = importlib.import_module(f"{package}.cli").main([str(each) for each in argv])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command
