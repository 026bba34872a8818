"""Tar shards: the same images as in a folder, each exactly once; what is no whole shard is refused."""

import gzip
import io
import json
import pickle
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image
from small_pictures import shard as write

from var.data import BadImageError, FolderData, ImageData, TarData, batches, fingerprint, open_data, tar_listing
from var.data.shard_names import expand_shards
from var.errors import UserError

RNG = np.random.default_rng(0)


def encoded(suffix="png"):
    buffer = io.BytesIO()
    format_name = {"jpg": "JPEG"}.get(suffix.lower(), suffix.upper())
    Image.fromarray(RNG.integers(0, 256, (7, 9, 3), dtype=np.uint8)).save(buffer, format_name)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """23 images in 3 shards, and the same in class folders."""
    root = tmp_path_factory.mktemp("some")
    for shard, count in enumerate((8, 9, 6)):
        members = []
        for place in range(count):
            label, content = (shard + place) % 3, encoded()
            members += [(f"{place:04d}.png", content), (f"{place:04d}.cls", str(label))]
            path = root / "folder" / str(label) / f"{shard}-{place:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        write(root / "shards" / f"a-{shard:02d}.tar", members)
    return root


def open_shards(root, **options):
    return TarData(sorted((root / "shards").glob("*.tar")), size=6, **options)


def test_shards_hold_what_a_folder_holds(shards):
    data, folder = open_shards(shards), FolderData(shards / "folder", size=6)
    assert isinstance(data, ImageData)
    assert (len(data), data.classes, data.shape) == (23, ("0", "1", "2"), (3, 6, 6))
    in_folder = {path.stem: index for index, path in enumerate(folder.paths)}
    for index in reversed(range(23)):
        shard, member = data.describe(index).split(":")
        twin = in_folder[f"{int(shard[-6:-4])}-{member[:4]}"]
        assert torch.equal(data.load(index), folder.load(twin))
        assert data.labels[index] == folder.labels[twin]
    assert data.describe(8) == f"{shards}/shards/a-01.tar:0000.png"


def test_no_sample_is_lost_or_doubled_by_ranks_and_workers_and_resumption(shards):
    data = open_shards(shards)
    whole = list(islice(batches(data, 4, seed=0), 10))
    seen = torch.cat([batch.indices for batch in whole[:5]]).tolist()
    assert len(set(seen)) == 20
    for rank in range(2):
        stream = batches(data, 2, seed=0, rank=rank, world_size=2, workers=2 * rank, start_step=3)
        for batch, expected in zip(islice(stream, 7), whole[3:], strict=True):
            part = slice(2 * rank, 2 * rank + 2)
            assert torch.equal(batch.indices, expected.indices[part])
            assert torch.equal(batch.images, expected.images[part])
            assert torch.equal(batch.labels, expected.labels[part])
        stream.close()


def test_the_catalog_opens_folders_files_and_braces(shards, tmp_path):
    everything = open_shards(shards)
    for spec, count in (("shards", 23), ("shards/a-01.tar", 9), ("shards/a-{00..01}.tar", 17)):
        data = open_data(f"{shards}/{spec}", size=6)
        assert isinstance(data, TarData)
        assert len(data) == count
    assert fingerprint(open_data(f"{shards}/shards", size=6)) == fingerprint(everything)
    write(tmp_path / "train" / "0.tar", [("a.png", encoded())])
    write(tmp_path / "val" / "0.tar", [("b.png", encoded())])
    assert open_data(str(tmp_path), size=6, split="val").describe(0).endswith("val/0.tar:b.png")
    with pytest.raises(UserError, match="has no split 'test'; name the shards of that split"):
        open_data(f"{shards}/shards/a-01.tar", size=6, split="test")
    with pytest.raises(UserError, match=r"a-02\.tar must be a tar file, but: No such file"):
        open_data(f"{shards}/a-{{02..03}}.tar", size=6)


def test_braces():
    assert [str(path) for path in expand_shards("x/{8..11}.tar")] == [f"x/{n}.tar" for n in (8, 9, 10, 11)]
    assert [str(path) for path in expand_shards("{0..1}-{00..01}")] == ["0-00", "0-01", "1-00", "1-01"]
    assert [str(path) for path in expand_shards("plain.tar")] == ["plain.tar"]
    with pytest.raises(UserError, match=r"braces must count upwards, got \{3..1\}"):
        expand_shards("{3..1}.tar")


def test_names_labels_and_classes(tmp_path):
    image = encoded("jpg")
    path = write(
        tmp_path / "0.tar",
        [
            ("dir.v1/a.JPG", image),
            ("dir.v1/a.json", json.dumps({"label": 2, "caption": "an image"})),
            ("dir.v1/b.b.input.png", encoded()),
            ("dir.v1/b.cls", "1"),
            ("dir.v1/b.json", json.dumps({"label": 0})),
            ("dir.v1/b.txt", "not looked at"),
            (".hidden.png", b""),
            ("c.cls", "7"),  # of no image
        ],
    )
    (tmp_path / "classes.txt").write_text("cat\ndog\nemu\nfox\n")
    data = TarData([path], size=6)
    assert [data.describe(index).split(":")[1] for index in range(2)] == ["dir.v1/a.JPG", "dir.v1/b.b.input.png"]
    assert data.labels.tolist() == [2, 1]  # "cls" before "json"
    assert data.classes == ("cat", "dog", "emu", "fox")
    assert TarData([write(tmp_path / "1.tar", [("a.png", image)])], size=6).classes == ("unlabelled",)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("a.txt", "")], "no images in .*0.tar; put png, jpg"),
        ([("a.png", b""), ("a.jpg", b"")], "0.tar:a.jpg must be the only image of its sample, got another"),
        ([("a.png", b""), ("b.png", b""), ("a.cls", "0")], "0.tar:b.png must have a label .* got none .1 such"),
        ([("a.png", b""), ("a.cls", "cat")], "0.tar:a.cls must hold a label, a whole number, got b'cat'"),
        ([("a.png", b""), ("a.json", "[1]")], "0.tar:a.json must hold a label"),
        ([("a.png", b""), ("a.cls", "-1")], r"0.tar:a.png must have a label in \[0, 2\), got -1"),
        ([("a.png", b""), ("a.cls", "2")], r"0.tar:a.png must have a label in \[0, 2\), got 2; correct it or name all"),
    ],
)
def test_samples_that_are_not_as_they_should_be(tmp_path, members, message):
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    with pytest.raises(UserError, match=message) as caught:
        TarData([write(tmp_path / "0.tar", members)], size=6)
    assert "\n" not in str(caught.value)


def damage(content, how):
    if how == "cut in an image":
        return content[: 512 + 20]
    if how == "cut in a header":
        return content[: 1024 + 100]
    if how == "damaged header":
        return content[:1024] + b"x" + content[1025:]
    return {"empty": b"", "text": b"no tar at all" * 100, "compressed": gzip.compress(content)}[how]


@pytest.mark.parametrize("how", ["cut in an image", "cut in a header", "damaged header", "empty", "text", "compressed"])
def test_what_is_no_whole_shard_is_refused(tmp_path, how):
    path = write(tmp_path / "0.tar", [("a.png", encoded()), ("b.png", encoded()), ("c.png", encoded())])
    path.write_bytes(damage(path.read_bytes(), how))
    with pytest.raises(UserError, match=f"{path} must be a whole tar file, not compressed, but: .*; write it anew"):
        TarData([path], size=6)


def test_a_bad_member_is_named_and_can_be_skipped(tmp_path):
    good = [(f"{index}.png", encoded()) for index in range(5)]
    write(tmp_path / "0.tar", [*good, ("x.png", b"not an image")])
    with pytest.raises(BadImageError, match=r"0\.tar:x\.png must be a whole .* got 12 bytes that cannot be decoded"):
        open_data(str(tmp_path), size=6).load(5)
    data = open_data(str(tmp_path), size=6, on_bad_image="skip")
    data.load(5)
    assert list(data.skipped) == [5]


def test_a_shard_that_shrank_is_noticed(shards, tmp_path):
    path = write(tmp_path / "0.tar", [("a.png", encoded())])
    data = pickle.loads(pickle.dumps(TarData([path], size=6)))
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(BadImageError, match=r"0\.tar:a\.png must have \d+ bytes, got 88; mend the shard"):
        data.load(0)
    path.unlink()
    with pytest.raises(UserError, match=r"0\.tar must be a tar file, but it is missing"):
        data.load(0)


def test_the_index_spares_reading_shards_that_did_not_change(shards, tmp_path, monkeypatch):
    index, read = tmp_path / "index.json", []
    paths = [write(tmp_path / f"{shard}.tar", [(f"{shard}.png", encoded())]) for shard in range(3)]
    list_members = tar_listing._list_members

    def record(path):
        read.append(path.name)
        return list_members(path)

    monkeypatch.setattr(tar_listing, "_list_members", record)
    expected = TarData(paths, size=6, index=index)
    again = TarData(paths, size=6, index=index)
    assert read == ["0.tar", "1.tar", "2.tar"]
    assert fingerprint(again) == fingerprint(expected)
    assert torch.equal(again.load(2), expected.load(2))
    write(paths[1], [("1.png", encoded()), ("9.png", encoded())])
    assert len(TarData(paths, size=6, index=index)) == 4
    assert read[3:] == ["1.tar"]
    index.write_text('{"kind": "something else"}')
    with pytest.raises(UserError, match="must be a stored listing of shards, got another file"):
        TarData(paths, size=6, index=index)
