"""Captions in tar shards and in data sets of the library `datasets`, and captions as files of ours."""

import json
import pickle

import datasets
import pytest
from small_pictures import picture, png, shard

from var.cli import main
from var.data import (
    BadImageError,
    FolderData,
    HuggingFaceData,
    TarData,
    fingerprint,
    open_data,
    shapes,
    tar_listing,
    write_folder,
)  # fmt: skip
from var.errors import UserError
from var.evaluation.sets.folder import list_images


def sample(key, level=0, **members):
    return [(f"{key}.png", png(level)), *[(f"{key}.{extension}", content) for extension, content in members.items()]]


def opened(path, *samples, **options):
    return TarData(
        [shard(path / "0.tar", [member for each in samples for member in each])], size=6, captions=True, **options
    )


# Shards


def test_members_txt_or_fields_of_json(tmp_path):
    data = opened(
        tmp_path,
        sample("a", txt="\ufeffan a\n", cls="1"),
        sample("b", json=json.dumps({"caption": "a b", "label": 0})),
        sample("c", json=json.dumps({"text": "a c"}), cls="0"),
        # As img2dataset writes them; txt comes before json, as cls does.
        sample("d", txt="a d", json=json.dumps({"caption": "another", "label": 1})),
        sample("e/e", TXT="an e", cls="0"),
    )
    assert list(data.captions) == ["an a", "a b", "a c", "a d", "an e"]
    assert data.labels.tolist() == [1, 0, 0, 1, 0]
    assert data.notes == ()
    assert list(pickle.loads(pickle.dumps(data)).captions) == list(data.captions)


def test_without_captions_there_are_none_and_texts_of_no_image_are_counted(tmp_path):
    data = opened(tmp_path, sample("a", json='{"caption": null}', cls="0"), [("x.txt", "of no image"), ("b/a.txt", "")])
    assert data.captions is None
    assert data.notes == (f"{tmp_path}/0.tar: left out are 2 other files (as b/a.txt)",)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, r"0.tar:b.png must have a caption as other images have, got none; add a member txt to the sample"),
        ({"txt": " "}, "0.tar:b.png, its txt must hold a caption, .* got an empty one"),
        ({"txt": "x" * 5000}, "its txt must hold a caption, .* got 5000 characters"),
        ({"txt": "x" * 70_000}, "got 70000 bytes; shorten it"),
        ({"txt": "x" * (2**20 + 1)}, "its txt must have at most 1048576 bytes"),
        ({"txt": "ü".encode("latin-1")}, "its txt must hold .* got byte 0xfc at 0, which is no UTF-8"),
        ({"json": '{"text": "ü"}'.encode("latin-1")}, "its json must be readable .* 0xfc at 10, .*; save it as UTF-8"),
        ({"json": ""}, "0.tar:b.png, its json must hold a caption, .* got an empty one"),
        ({"json": '{"text": ["a"]}'}, r"its json must hold .* got \['a'\]; write a text"),
        ({"json": '{"text": "a", "caption": "b"}'}, "its json must hold .* got another in 'caption'"),
    ],
)
def test_a_bad_caption_is_an_error_when_asked_for_or_a_bad_image(tmp_path, members, message):
    data = opened(tmp_path, sample("a", txt="an a"), sample("b", 99, **members), sample("c", txt="a c"))
    with pytest.raises(BadImageError, match=message) as caught:
        data.captions[1]
    assert str(caught.value).isprintable()
    assert (data.captions[0], data.captions[2]) == ("an a", "a c")
    assert len(data.notes) == (members == {})
    assert isinstance(fingerprint(data), str)
    skipping = open_data(tmp_path, size=6, captions=True, on_bad_image="skip")
    assert skipping.captions[1] in ("an a", "a c")
    assert skipping.skipped == {1: str(caught.value)}


def test_a_sample_has_one_member_of_a_kind(tmp_path):
    for double in ("txt", "json"):
        with pytest.raises(UserError, match=rf"0.tar:a.{double} must be the only caption of its sample, got another"):
            opened(tmp_path, sample("a", **{double: '{"text": "x"}'}), [(f"a.{double}", '{"text": "y"}')])
    with pytest.raises(UserError, match=r"0.tar:a.json must hold a label, as .label. of an object, but: "):
        opened(tmp_path, sample("a", json="{"))


def test_a_json_in_another_encoding_beside_labels_may_hold_one(tmp_path):
    bad = sample("b", json='{"label": 1, "text": "ü"}'.encode("latin-1"))
    assert (
        opened(tmp_path, sample("a", cls="0", txt="an a"), [*bad, ("b.cls", "1"), ("b.txt", "a b")]).captions[1]
        == "a b"
    )
    for content, said in ((None, "be readable JSON, but: .*; save it as UTF-8"), (b" ", "hold a label, as .label. of")):
        bad = bad if content is None else sample("b", json=content)
        with pytest.raises(UserError, match=rf"0.tar:b.json must {said}"):
            opened(tmp_path, sample("a", json='{"label": 0}'), bad)


def test_a_second_start_reads_no_shard_and_old_indices_are_made_anew(tmp_path, monkeypatch):
    index = tmp_path / "index.json"
    first = opened(tmp_path, sample("a", txt="an a"), sample("b", json='{"text": "a b"}'), sample("c"), index=index)
    right = json.loads(index.read_text())
    with monkeypatch.context() as patch:
        patch.setattr(tar_listing, "_list_members", None)
        again = open_data(tmp_path, size=6, captions=True, index=index)
    assert again.captions[:2] == ["an a", "a b"]
    assert (again.notes, fingerprint(again)) == (first.notes, fingerprint(first))
    ((name, (state, columns, left_out)),) = right["shards"].items()
    texts = columns[4]
    wrong = [None, [texts[0]], [5, [], []], [[0, 10**9, 1], [], []], [[0, 1, 3], [], []], [[True, 1, 1], [], []]]
    for column in ([], *[[each] for each in wrong]):
        entry = [state, [*columns[:4], *column], left_out]
        index.write_text(json.dumps(right | {"shards": {name: entry}}))
        assert open_data(tmp_path, size=6, captions=True, index=index).captions[:2] == ["an a", "a b"]
        assert json.loads(index.read_text()) == right


def test_the_fingerprint_knows_captions(tmp_path):
    one = fingerprint(opened(tmp_path, sample("a", txt="an a")))
    assert fingerprint(opened(tmp_path, sample("a", txt="an A"))) != one
    assert fingerprint(opened(tmp_path, sample("a", txt="an a"))) == one


# Data sets of others


def columns(**texts):
    pictures = [{"bytes": png(level), "path": None} for level in range(3)]
    features = {"image": datasets.Image(), **{name: feature for name, (_, feature) in texts.items()}}
    cells = {"image": pictures, **{name: values for name, (values, _) in texts.items()}}
    return datasets.Dataset.from_dict(cells, features=datasets.Features(features))


TEXT = datasets.Value("string")


def test_a_named_column_holds_captions(tmp_path):
    data = columns(text=([" one ", None, "\n"], TEXT))
    assert HuggingFaceData(data, size=6).captions is None
    found = HuggingFaceData(data, size=6, caption="text")
    assert found.captions[0] == "one"
    assert len(found.captions) == 3
    with pytest.raises(BadImageError, match=r"dataset\[1\], its 'text' must have a caption as other images have"):
        found.captions[1]
    with pytest.raises(BadImageError, match=r"dataset\[2\], its 'text' must hold a caption, .* got an empty one"):
        found.captions[2]
    assert fingerprint(found) != fingerprint(HuggingFaceData(data, size=6))
    data.save_to_disk(tmp_path / "some")
    source = f"hf:{tmp_path / 'some'}?caption=text"
    assert open_data(source, size=6, captions=True).captions[0] == "one"
    assert open_data(f"hf:{tmp_path / 'some'}?caption=", size=6, captions=True).captions is None
    skipping = open_data(source, size=6, captions=True, on_bad_image="skip")
    assert list(skipping.captions) == ["one"] * 3
    assert pickle.loads(pickle.dumps(skipping)).captions[1] == "one"
    with pytest.raises(
        UserError, match=r"must have a column 'caption' of captions; .*; name it as in .*caption=COLUMN"
    ):
        open_data(f"hf:{tmp_path / 'some'}?caption=caption", size=6, captions=True)


@pytest.mark.parametrize(
    ("values", "feature", "found"),
    [
        ([1, 2, 3], datasets.Value("int64"), "got int64"),
        ([["a"], ["b"], []], datasets.Sequence(TEXT), "got "),
        ([0, 1, 0], datasets.ClassLabel(names=["a", "b"]), "got int64"),
    ],
)
def test_only_texts_are_captions(values, feature, found):
    with pytest.raises(UserError, match=f"the column 'words' of dataset must hold texts, {found}.*; choose another"):
        HuggingFaceData(columns(words=(values, feature)), size=6, caption="words", label=None)


def test_a_column_of_captions_is_not_taken_for_labels():
    assert HuggingFaceData(columns(category=(["a", "b", "c"], TEXT)), size=6, caption="category").classes == (
        "unlabelled",
    )


# Written


def test_written_captions_are_read_back(tmp_path, capsys):
    data = shapes(size=8, length=30)
    out = write_folder(data, tmp_path / "out", progress=False)
    read = FolderData(out, size=8, captions=True)
    assert read.notes == list_images(out).notes == ()  # nor does a judge find anything odd
    by_name = {f"{data.classes[label]}/{place:02d}.png": place for place, label in enumerate(data.labels.tolist())}
    assert [data.captions[by_name[f"{path.parent.name}/{path.name}"]] for path in read.paths] == list(read.captions)
    write_folder(read, tmp_path / "again", progress=False)
    assert list(FolderData(tmp_path / "again", size=8, captions=True).captions) == list(read.captions)
    write_folder(data, tmp_path / "part", count=5, progress=False)
    write_folder(data, tmp_path / "part", progress=False)  # one with a larger count adds to it
    assert list(FolderData(tmp_path / "part", size=8, captions=True).captions) == list(read.captions)
    assert main(["data", "write", str(out), str(tmp_path / "third"), "--size", "8", "--quiet"]) == 0
    assert list(open_data(tmp_path / "third", size=8, captions=True).captions) == list(read.captions)
    first = (out / "metadata.jsonl").read_text(encoding="utf-8").split("\n")[0]
    assert json.loads(first) == {"file_name": "red circle/00.png", "text": "a large red circle on a yellow ground"}


def test_data_without_captions_are_written_as_before(tmp_path):
    for name in "ab":
        picture(tmp_path / "own" / name / "1.png")
    out = write_folder(FolderData(tmp_path / "own", size=6, captions=True), tmp_path / "out", progress=False)
    assert sorted(path.name for path in out.iterdir()) == [".written.json", "a", "b"]
    (out / "metadata.jsonl").write_text("")
    with pytest.raises(UserError, match=r"must hold only what was written, got 'metadata.jsonl'"):
        write_folder(FolderData(tmp_path / "own", size=6, captions=True), out, progress=False)


def test_a_bad_caption_stops_the_writing(tmp_path):
    picture(tmp_path / "own" / "1.png")
    (tmp_path / "own" / "1.txt").write_text("")
    with pytest.raises(BadImageError, match=r"own/1.txt must hold a caption"):
        write_folder(FolderData(tmp_path / "own", size=6, captions=True), tmp_path / "out", progress=False)
