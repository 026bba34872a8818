"""The authors' repository: a variant by name, converted once, kept beside the download."""

import os

import pytest
import torch
from official_layout import official_pair
from tiny_pipelines import make_pipeline

from var import VARPipeline
from var.errors import UserError
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
    """The pairs of files that were converted, each into a tiny pipeline."""
    converted = []

    def from_original(cls, vqvae, transformer, *, progress):
        converted.append((vqvae.name, transformer.name))
        return make_pipeline()

    monkeypatch.setattr(VARPipeline, "from_original", classmethod(from_original))
    return converted


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.transformer.parameters(), b.transformer.parameters(), strict=True))


def load(variant="d16", **settings):
    return VARPipeline.from_pretrained("FoundationVision/var", variant=variant, progress=False, **settings)


def test_it_is_converted_once_and_then_read_from_the_conversion(hub, conversions):
    repository, asked = hub
    first = load(revision="main", local_files_only=True)
    assert same(first, make_pipeline())
    assert [name for _, name, _ in asked] == ["vae_ch160v4096z32.pth", "var_d16.pth"]
    assert asked[0][2] == {"revision": "main", "local_files_only": True}
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
    assert same(load(), make_pipeline())
    assert same(VARPipeline.from_pretrained(kept), make_pipeline())
    assert len(conversions) == 2


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
        assert same(load(), make_pipeline())


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
