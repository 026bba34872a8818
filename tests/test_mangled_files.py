"""Every kind of file that is read, mangled in many ways: it is read or refused by `UserError`, soon, in little memory.

A few cases of each kind run always; `pytest tests/test_mangled_files.py --mangled 200` runs 200 of each.
"""

import random
import resource
import shutil
import signal
import tarfile
import time
from pathlib import Path

import pytest
import torch
from annotations import unchecked
from mangling import mangled

from diffusion_baseline import DiffusionPipeline
from var import VQVAE, VARPipeline
from var.data import open_data
from var.errors import UserError
from var.evaluation import Classifier
from var.evaluation.report.diff import diff_reports
from var.evaluation.sets.reference_statistics import ReferenceStatistics
from var.evaluation.sets.samples import open_samples
from var.foreign.weights import read_tensors
from var.recipes.vqvae.presets import vqvae_run
from var.runs.folder import RunFolder
from var.runs.overrides import read_settings, settings_from_dict
from var.sampling.record import read_record
from var.training.checkpoints import newest_whole, read_facts, stored_tensors
from var.training.metrics_log import MetricsLog
from var.training.periodic_evaluation import best_so_far

SPECIMENS = Path(__file__).parent / "golden" / "before_the_house"
SECONDS, MEMORY = 10, 2**31


def load_all(data):
    return [data.load(index) for index in range(len(data))], data.classes, data.labels


def load_samples(folder):
    samples = open_samples(folder)
    return list(samples.batches()), samples.labels, samples.fingerprint()


def load_reference(path):
    reference = ReferenceStatistics.load(path)
    return reference.statistics, reference.features, reference.provenance


def settings_of_run(path):
    """The settings in a `run.yaml`, and what it says of the run besides."""
    values = read_settings(path)
    facts = values.pop("run", None)
    return settings_from_dict(type(vqvae_run("digits")), values, "run.yaml"), facts


def look_at_run(folder):
    settings, facts = settings_of_run(SPECIMENS / "runs" / "tokenizer" / "run.yaml")
    run = RunFolder(folder)
    run.compare("vqvae", settings, {name: value for name, value in facts.items() if name != "kind"})
    run.check_steps(4)


def look_at_checkpoint(folder):
    whole, _ = newest_whole(folder)
    read_facts(whole)
    stored_tensors(whole)


def shard(folder):
    """Two pictures with labels as a tar."""
    pictures = sorted((SPECIMENS / "images").rglob("*.png"))[:2]
    with tarfile.open(folder / "a.tar", "w") as archive:
        for number, path in enumerate(pictures):
            archive.add(path, f"{number}.png")
            label = folder / "label"
            label.write_text(str(number))
            archive.add(label, f"{number}.cls")
            label.unlink()


def copied(source):
    def make(folder):
        path = SPECIMENS / source
        if path.is_dir():
            shutil.copytree(path, folder, dirs_exist_ok=True)
        else:
            shutil.copy(path, folder)

    return make


def listed(folder):
    """A folder of images with the listing that the first reader leaves."""
    shutil.copytree(SPECIMENS / "images", folder / "images")
    open_data(str(folder / "images"), size=8, channels=1, index=folder / "listing.json")


def named_shard(folder):
    shard(folder)
    (folder / "classes.txt").write_text("zero\none\n")


def weights(folder):
    torch.save({"a": torch.zeros(3), "b": {"c": torch.ones(2, 2)}}, folder / "a.pth")


def single_file(folder):
    VARPipeline.from_pretrained(SPECIMENS / "pipelines" / "var").save_single_file(folder / "a.safetensors")


def images_of(folder, **options):
    return load_all(open_data(str(folder), size=8, channels=1, **options))


KINDS = {
    "config": (copied("runs/tokenizer"), "config.json", "json", VQVAE.from_pretrained),
    "weights": (copied("runs/tokenizer"), "model.safetensors", "safetensors", VQVAE.from_pretrained),
    "weight index": (
        copied("pipelines/var"),
        "vqvae/model.safetensors.index.json",
        "json",
        lambda folder: VQVAE.from_pretrained(folder / "vqvae"),
    ),
    "VAR's index": (copied("pipelines/var"), "pipeline_index.json", "json", VARPipeline.from_pretrained),
    "diffusion's index": (
        copied("pipelines/diffusion"),
        "pipeline_index.json",
        "json",
        DiffusionPipeline.from_pretrained,
    ),
    "pipeline in one file": (
        single_file,
        "a.safetensors",
        "safetensors",
        lambda folder: VARPipeline.from_single_file(folder / "a.safetensors"),
    ),
    "judge": (copied("judge"), "config.json", "json", Classifier.from_pretrained),
    "manifest": (copied("runs/tokenizer/checkpoints"), "step-4/manifest.json", "json", look_at_checkpoint),
    "facts": (copied("runs/tokenizer/checkpoints"), "step-4/state.json", "json", look_at_checkpoint),
    "best weights": (copied("runs/tokenizer/checkpoints"), "best/model.safetensors", "safetensors", best_so_far),
    "run": (copied("runs/tokenizer"), "run.yaml", "yaml", look_at_run),
    "end of a run": (copied("runs/tokenizer"), "finished.json", "json", look_at_run),
    "log": (
        copied("runs/tokenizer"),
        "log.jsonl",
        "lines",
        lambda folder: MetricsLog(folder / "log.jsonl", 1, start=3),
    ),
    "settings": (
        copied("runs/tokenizer/run.yaml"),
        "run.yaml",
        "yaml",
        lambda folder: settings_of_run(folder / "run.yaml"),
    ),
    "listing": (
        listed,
        "listing.json",
        "json",
        lambda folder: images_of(folder / "images", index=folder / "listing.json"),
    ),
    "picture": (copied("images"), "0/000.png", "png", images_of),
    "sample": (copied("sets/var"), "350.png", "png", load_samples),
    "record": (copied("sets/var"), "350.png", "png", lambda folder: read_record(folder / "350.png")),
    "sample set": (copied("sets/var"), "sample-set.json", "json", load_samples),
    "samples' npz": (copied("sets/var.npz"), "var.npz", "zip", lambda folder: load_samples(folder / "var.npz")),
    "statistics": (
        copied("statistics.npz"),
        "statistics.npz",
        "zip",
        lambda folder: load_reference(folder / "statistics.npz"),
    ),
    "report": (
        copied("scores.json"),
        "scores.json",
        "json",
        lambda folder: diff_reports(folder / "scores.json", SPECIMENS / "scores.json"),
    ),
    "shard": (shard, "a.tar", "tar", images_of),
    "names of classes": (named_shard, "classes.txt", "text", images_of),
    "pickled weights": (weights, "a.pth", "zip", lambda folder: read_tensors(folder / "a.pth")),
}
"""Of each kind of file: what makes its folder, its name in it, its form, and the door by which it is read."""


class _TooLongError(Exception):
    """The reader did not come to an end."""


@pytest.fixture
def bounded():
    """Let what runs have no more than so much new memory and so many seconds for each case."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))

    def end(*_):
        raise _TooLongError

    handler = signal.signal(signal.SIGALRM, end)
    yield lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, handler)
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.filterwarnings("ignore")  # numpy, Pillow and torch have things to say about such files
@pytest.mark.parametrize("kind", KINDS)
def test_a_mangled_file_is_read_or_refused(kind, tmp_path, bounded, request):
    make, name, form, read = KINDS[kind]
    good = tmp_path / "good"
    good.mkdir()
    make(good)
    read(good)  # as it is, it is read
    content = (good / name).read_bytes()
    outcomes = {"read": 0, "refused": 0}
    for case in range(request.config.getoption("--mangled")):
        draw = random.Random(f"{kind} {case}")
        folder = tmp_path / "mangled"
        shutil.copytree(good, folder)
        (folder / name).write_bytes(mangled(content, form, draw))
        started = time.monotonic()
        bounded(SECONDS)
        try:
            with unchecked():  # the types of what is in files are not the checker's business
                read(folder)
            outcomes["read"] += 1
        except UserError:
            outcomes["refused"] += 1
        except BaseException as error:
            raise AssertionError(f"{kind}, case {case}, after {time.monotonic() - started:.1f} s: {error!r}") from error
        finally:
            bounded(0)
        shutil.rmtree(folder)
    assert outcomes["refused"] > 0 or kind == "log"  # of which every line that can be read is kept
