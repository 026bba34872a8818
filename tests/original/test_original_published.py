"""The authors' repository: a variant by name, converted once, kept beside the download."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest
import torch
from half_folders import begun
from official_layout import official_pair
from tiny import tiny_pipeline

from var import VARPipeline
from var.errors import UserError
from var.hub import kinds
from var.original import published

COMMIT = "0123456789abcdef"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the Hub with a download in it, and the names that were asked for."""
    repository = tmp_path / "hub" / "models--FoundationVision--var"
    snapshot = repository / "snapshots" / COMMIT
    (repository / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    asked = []

    def find_file(path_or_id, filename, **source):
        asked.append((path_or_id, filename, source))
        link, blob = snapshot / filename, repository / "blobs" / f"etag-of-{filename}"
        if not link.exists():
            blob.write_bytes(b"weights")
            link.symlink_to(os.path.relpath(blob, snapshot))
        return link

    monkeypatch.setattr(published, "find_file", find_file)
    monkeypatch.chdir(tmp_path)
    return repository, asked


@pytest.fixture
def conversions(monkeypatch):
    """The pairs of files that were converted, each into a tiny pipeline.

    It is made beforehand: weights that several threads draw at once from the global stream would be no two alike.
    """
    converted, pipeline = [], tiny_pipeline()

    def from_original(cls, vqvae, transformer, *, progress):
        converted.append((vqvae.name, transformer.name))
        return deepcopy(pipeline)

    monkeypatch.setattr(VARPipeline, "from_original", classmethod(from_original))
    return converted


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.transformer.parameters(), b.transformer.parameters(), strict=True))


def load(variant="d16", **settings):
    return VARPipeline.from_pretrained("FoundationVision/var", variant=variant, progress=False, **settings)


def test_it_is_converted_once_and_then_read_from_the_conversion(hub, conversions):
    repository, asked = hub
    first = load(revision="main", local_files_only=True)
    assert same(first, tiny_pipeline())
    assert [name for _, name, _ in asked] == ["vae_ch160v4096z32.pth", "var_d16.pth"]
    assert asked[0][2] == {"revision": "main", "local_files_only": True, "progress": False}
    kept = list((repository / "next-scale").iterdir())
    assert len(kept) == 1  # and no temporary folder
    assert {file.suffix for file in kept[0].rglob("*.*")} == {".json", ".safetensors"}
    second = load(dtype=torch.bfloat16)
    assert second.transformer.head.weight.dtype == torch.bfloat16
    assert same(second, first.to(torch.bfloat16))
    assert conversions == [("vae_ch160v4096z32.pth", "var_d16.pth")]
    load("d36")
    assert conversions[1:] == [("vae_ch160v4096z32.pth", "var_d36.pth")]


def test_other_contents_are_converted_anew(hub, conversions):
    repository, _ = hub
    load()
    link = repository / "snapshots" / COMMIT / "var_d16.pth"
    blob = repository / "blobs" / "etag-of-a-newer-file"
    blob.write_bytes(b"other weights")
    link.unlink()
    link.symlink_to(blob)
    load()
    load()
    assert len(conversions) == len(list((repository / "next-scale").iterdir())) == 2


def test_without_links_the_commit_tells_contents_apart(hub, conversions):
    repository, _ = hub
    load()
    for link in (repository / "snapshots" / COMMIT).iterdir():
        link.unlink()
        link.write_bytes(b"weights")
    load()
    load()
    assert len(conversions) == 2


def test_a_conversion_that_is_damaged_is_made_again(hub, conversions):
    repository, _ = hub
    load()
    (kept,) = (repository / "next-scale").iterdir()
    (kept / "transformer" / "model.safetensors").write_bytes(b"cut off")
    assert same(load(), tiny_pipeline())
    assert same(VARPipeline.from_pretrained(kept), tiny_pipeline())
    assert len(conversions) == 2


def test_two_processes_that_meet_a_damaged_conversion_both_get_the_model(hub, conversions, monkeypatch):
    """F19: the other process takes it away between the look at it and the removal, or while it is read."""
    repository, _ = hub
    load()
    (kept,) = (repository / "next-scale").iterdir()
    remove = published.remove_folder

    def removed_twice(folder):
        remove(folder)
        remove(folder)

    (kept / "transformer" / "model.safetensors").write_bytes(b"cut off")
    with monkeypatch.context() as patch:
        patch.setattr(published, "remove_folder", removed_twice)
        assert same(load(), tiny_pipeline())
    assert len(conversions) == 2
    real = kinds.read_json

    def vanishing(path, **options):
        shutil.rmtree(kept, ignore_errors=True)
        return real(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(kinds, "read_json", vanishing)
        assert published._kept(VARPipeline, kept, None, None) is None
    assert same(load(), tiny_pipeline())
    assert len(conversions) == 3


def test_four_threads_at_once_convert_and_get_the_model(hub, conversions):
    repository, _ = hub
    load()
    (kept,) = (repository / "next-scale").iterdir()
    (kept / "transformer" / "model.safetensors").write_bytes(b"cut off")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: load(), range(8)))
    assert all(same(each, tiny_pipeline()) for each in found)
    assert [path.name for path in (repository / "next-scale").iterdir()] == [kept.name]
    assert same(VARPipeline.from_pretrained(kept), tiny_pipeline())


def test_what_a_killed_conversion_left_is_swept(hub, conversions, tmp_path):
    """F20: a folder as large as the model; a running process's stays."""
    repository, _ = hub
    process = begun(repository / "next-scale" / "d16-1-0")
    (half,) = (repository / "next-scale").iterdir()
    load()
    assert half.exists()
    process.kill()
    process.wait()
    assert (half / "half").stat().st_size == 10**6
    load()  # from the conversion, which is whole
    assert len(conversions) == 1
    assert [path.name[0] for path in (repository / "next-scale").iterdir()] == ["d"]


def test_a_failure_while_converting_leaves_nothing(hub, conversions, monkeypatch):
    repository, _ = hub

    def fail(self, folder):
        (folder / "half").mkdir()
        raise RuntimeError("killed")

    monkeypatch.setattr(VARPipeline, "save_pretrained", fail)
    with pytest.raises(RuntimeError, match="killed"):
        load()
    assert list((repository / "next-scale").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_done_without(hub, conversions):
    repository, _ = hub
    (repository / "next-scale").write_text("in the way")
    with pytest.warns(UserWarning, match="the conversion is not kept"):
        assert same(load(), tiny_pipeline())


def test_a_local_folder_of_the_files(tmp_path):
    pair = official_pair(9, sides=(1, 2), width=16, heads=2, depth=1)
    torch.save(pair[0], tmp_path / "vae_ch160v4096z32.pth")
    torch.save(pair[1], tmp_path / "var_d20.pth")
    before = sorted(tmp_path.rglob("*"))
    pipe = VARPipeline.from_pretrained(tmp_path, variant="d20", progress=False)
    assert same(pipe, VARPipeline.from_original(*pair))
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(UserError, match=r"var_d16.pth must be a file, but there is none; did you mean 'var_d20.pth'"):
        VARPipeline.from_pretrained(tmp_path, variant="d16")
    with pytest.raises(UserError, match="several official models, got no variant; pass variant=, one of d16, d20"):
        VARPipeline.from_pretrained(tmp_path)
    # What is ours too is read as ours.
    pipe.save_pretrained(tmp_path)
    assert same(VARPipeline.from_pretrained(tmp_path), pipe)


def test_a_variant_must_be_named_and_known(hub):
    _, asked = hub
    with pytest.raises(UserError, match="unknown variant 'd18'; did you mean 'd16'"):
        load("d18")
    with pytest.raises(UserError, match="pass variant=, one of d16, d20, d24, d30, d36"):
        VARPipeline.from_pretrained("FoundationVision/var")
    with pytest.raises(UserError, match="device 'nowhere' cannot be used"):
        load(device="nowhere")
    assert asked == []
