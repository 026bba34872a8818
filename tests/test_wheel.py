"""What is installed holds the models, and draws with them where there is no network."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

from diffusion_baseline import DiffusionPipeline
from var import VARPipeline
from var.hub.packaged import OWNER, packaged_models

ROOT = Path(__file__).parents[1]
CLASSES = {"var": VARPipeline, "diffusion_baseline": DiffusionPipeline}
MODELS = {package: sorted(packaged_models(package)) for package in CLASSES}

# Of every model an image, in one process: importing torch is what takes the time.
DRAW = f"""
import sys

def refuse(event, _):
    if event in ("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname"):
        raise AssertionError(event)

sys.addaudithook(refuse)
import json
import diffusion_baseline
import var

pipelines, found = {{}}, {{}}
for package, ids in {MODELS!r}.items():
    cls = getattr(sys.modules[package], {{"var": "VARPipeline"}}.get(package, "DiffusionPipeline"))
    pipelines |= {{(package, each): cls.from_pretrained(each) for each in ids}}
assert "torch._dynamo" not in sys.modules, "to load a model imports torch's compiler, which takes 2 s"
for (package, each), pipeline in pipelines.items():
    part = getattr(pipeline, next(iter(pipeline.parts)))
    images = pipeline(num_images=1, seeds=[1], output_type="pt", progress=False).images
    found[package + " " + each] = [
        sys.modules[package].__file__, str(next(part.parameters()).dtype), images.min() < images.max().item() - 0.2
    ]
print(json.dumps(found, default=bool))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The folder into which the wheel, built of this tree, is unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(folder / "dist"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def contents(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def files_of_models(folder):
    return {path for path in contents(folder) if path.split("/")[1] == "models"}


def test_the_models_are_in_the_tree_in_the_wheel_and_among_the_sources(installed):
    ours = {f"{package}/{each}" for package in CLASSES for each in files_of_models_below(ROOT / package)}
    assert {Path(each).suffix for each in ours} == {".safetensors", ".json", ".md"}
    assert files_of_models(installed) == ours
    sources = {file.distribution_path for file in SdistBuilder(str(ROOT)).recurse_included_files()}
    assert ours <= sources
    assert {each for each in sources if each.startswith("scripts/")} >= {"scripts/build_models.py"}


def files_of_models_below(package):
    return {each for each in contents(package) if each.startswith("models/")}


def test_all_of_them_are_small(installed):
    assert sum((installed / each).stat().st_size for each in files_of_models(installed)) <= 12_000_000


def test_each_draws_without_a_network_and_writes_nothing(installed, tmp_path):
    before = contents(installed)
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-c", DRAW]
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert len(found) == sum(map(len, MODELS.values())) >= 2
    for what, (file, dtype, drawn) in found.items():
        assert Path(file).is_relative_to(installed), what
        assert (dtype, drawn) == ("torch.float32", True), what
    assert contents(installed) == before
    assert contents(tmp_path) == set()


@pytest.mark.parametrize("package", CLASSES)
def test_each_has_a_card_with_data_licence_numbers_and_command(package):
    for each, folder in packaged_models(package).items():
        page = (folder / "README.md").read_text(encoding="utf-8")
        front = yaml.safe_load(page.split("---\n")[1])
        name = each.removeprefix(f"{OWNER}/")
        assert f"`python scripts/build_models.py {name}`" in page
        assert "seed 0" in page
        assert f'{CLASSES[package].__name__}.from_pretrained("{each}")' in page
        (result,) = front["model-index"][0]["results"]
        assert len(result["metrics"]) >= 5
        assert "whose images are licensed" in page
        licences = {"digits": "cc-by-4.0", "emoji": "cc-by-sa-4.0", "shapes-text": "mit"}
        assert front["license"] == licences[name]
