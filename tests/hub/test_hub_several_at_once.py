"""Saves beside each other, saves that fail and saves that are killed: always one whole model, or none (issue 11)."""

import os
import resource
import signal
import time
from contextlib import contextmanager
from threading import Thread

import pytest
from savers import pair, value_of
from tiny_models import Other, Pair, Tiny, TinyConfig, assert_same_weights, one_line


def test_threads_that_save_into_one_folder_leave_one_whole_model(tmp_path):
    pipelines, seen, faults, saving = [pair(value) for value in range(1, 6)], set(), [], True

    def save(made):
        try:
            for _ in range(4):
                made.save_pretrained(tmp_path, max_shard_size=8000)
        except BaseException as error:
            faults.append(error)

    def load():
        while saving:
            try:
                seen.add(value_of(Pair.from_pretrained(tmp_path)))
            except BaseException as error:
                faults.append(error)

    pair(0).save_pretrained(tmp_path, max_shard_size=8000)
    readers = [Thread(target=load) for _ in range(2)]
    savers = [Thread(target=save, args=(made,)) for made in pipelines]
    for thread in readers + savers:
        thread.start()
    for thread in savers:
        thread.join()
    saving = False
    for thread in readers:
        thread.join()
    assert faults == []
    assert value_of(Pair.from_pretrained(tmp_path)) in range(1, 6)
    assert list(tmp_path.rglob(".*")) == []


def test_a_killed_save_leaves_a_whole_model_or_none_and_its_rest_is_swept(forker, tmp_path):
    for number in range(6):
        log = tmp_path / f"log-{number}"
        process = forker.start("savers.save_on_and_on", log, str(tmp_path / "pair"))
        until = time.monotonic() + 60
        while not (log.exists() and "saving" in log.read_text()) and time.monotonic() < until:
            time.sleep(0.005)
        time.sleep(0.003 * number)
        os.kill(process, signal.SIGKILL)
        assert forker.wait(process) == -signal.SIGKILL
        if (tmp_path / "pair" / "pipeline_index.json").exists():
            assert value_of(Pair.from_pretrained(tmp_path / "pair")) >= 0
        else:
            with one_line(".*pipeline_index.json must be a JSON file, but it is missing"):
                Pair.from_pretrained(tmp_path / "pair")
    pair(7).save_pretrained(tmp_path / "pair")
    assert value_of(Pair.from_pretrained(tmp_path / "pair")) == 7
    names = sorted(path.relative_to(tmp_path / "pair").as_posix() for path in (tmp_path / "pair").rglob("*.*"))
    files = [f"{part}/{name}" for part in ("first", "second") for name in ("config.json", "model.safetensors")]
    assert names == sorted([*files, "pipeline_index.json"])


@contextmanager
def files_of_at_most(size):
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("place", ["old", "new/below"])
def test_a_pipeline_that_does_not_fit_on_the_disk_leaves_the_old_one(tmp_path, place):
    old = Pair(first=Tiny(TinyConfig(width=3)), second=Other(TinyConfig(width=4)), steps=2)
    old.save_pretrained(tmp_path / "old")
    new = Pair(first=Tiny(TinyConfig(width=3)), second=Other(TinyConfig(width=10_000)), steps=3)
    # The first part could be written; the second cannot.
    with files_of_at_most(20_000), one_line("the output .*model.safetensors must be writable, but: .*make room"):
        new.save_pretrained(tmp_path / place)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    back = Pair.from_pretrained(tmp_path / "old")
    assert back.steps == 2
    assert_same_weights(back.first, old.first)
    assert len(list(tmp_path.rglob("*.*"))) == 5


def test_models_and_pipelines_are_not_mixed_in_one_folder(tmp_path):
    made = pair(1)
    made.save_pretrained(tmp_path / "pair")
    made.first.save_pretrained(tmp_path / "tiny")
    with one_line(".*pair holds a pipeline, which a single model must not be mixed with; save into another one"):
        made.first.save_pretrained(tmp_path / "pair")
    with one_line(".*tiny holds a single model, which a pipeline must not be mixed with; save into another one"):
        made.save_pretrained(tmp_path / "tiny")
    assert value_of(Pair.from_pretrained(tmp_path / "pair")) == 1
    assert_same_weights(Tiny.from_pretrained(tmp_path / "tiny"), made.first)


def test_another_model_takes_the_place_of_the_old_one_whole(tmp_path):
    pair(1).first.save_pretrained(tmp_path, max_shard_size=4000)
    other = Other(TinyConfig(width=5))
    other.save_pretrained(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert_same_weights(Other.from_pretrained(tmp_path), other)
    with one_line(".*config.json must be of class 'Tiny', got 'Other'"):
        Tiny.from_pretrained(tmp_path)


@pytest.mark.parametrize("place", ["/dev/null", "/dev/full", "/dev/null/below", "/proc/here"])
def test_places_where_no_folder_can_be(place):
    with one_line(f"the output {place} must be writable, but: "):
        pair(1).save_pretrained(place)
    with one_line(f"the output {place} must be writable, but: "):
        pair(1).first.save_pretrained(place)
    assert not os.path.isfile("/dev/null")
