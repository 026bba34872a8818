"""Captions in folders (issue 12, section 2): texts beside the images, lines of metadata.jsonl, and their faults."""

import json
import os
import pickle
import shutil

import pytest
from small_pictures import picture

from var.data import (
    BadImageError,
    FolderData,
    SkipBadImages,
    batches,
    caption_files,
    fingerprint,
    open_data,
    without_images,
)
from var.data import captions as rules
from var.data.base import Relabelled, notes_of
from var.errors import UserError

OLD = 1_600_000_000
"""Seconds; a folder changed then has settled."""


@pytest.fixture
def root(tmp_path):
    """Two classes of three pictures, each of its own grey."""
    for place, name in enumerate(("a/1", "a/2", "a/3", "b/1", "b/2", "b/3")):
        picture(tmp_path / "root" / f"{name}.png", level=40 * place)
    return tmp_path / "root"


def with_texts(root, **others):
    """Write a text beside every picture, but for some by the names in `others`, of which None is none."""
    for path in sorted(root.rglob("*.png")):
        name = f"{path.parent.name}{path.stem}"
        content = others.get(name, f"picture {name}")
        if content is not None:
            path.with_suffix(".txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def with_lines(folder, *lines):
    """Write a metadata.jsonl of pairs or of whole lines; returns its path."""
    path = folder / "metadata.jsonl"
    texts = [line if isinstance(line, str) else json.dumps({"file_name": line[0], "text": line[1]}) for line in lines]
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


def pairs(root, prefix=""):
    return [(f"{prefix}{path.relative_to(root)}", f"line {path.stem}") for path in sorted(root.rglob("*.png"))]


def read(root, **options):
    return FolderData(root, size=4, captions=True, **options)


ALL = [f"picture {name}" for name in ("a1", "a2", "a3", "b1", "b2", "b3")]


# Texts beside the images


def test_a_text_beside_each_image(root):
    data = read(with_texts(root))
    assert list(data.captions) == ALL
    assert data.captions[-1] == "picture b3"
    assert data.notes == ()
    assert list(read(root / "a").captions) == ALL[:3]
    assert list(pickle.loads(pickle.dumps(data)).captions) == ALL


def test_names_with_dots_and_large_letters(tmp_path):
    picture(tmp_path / "x.v1.png")
    picture(tmp_path / "y.PNG")
    (tmp_path / "x.v1.txt").write_text("an x")
    (tmp_path / "y.TXT").write_text("a y")
    assert list(read(tmp_path).captions) == ["an x", "a y"]


def test_texts_of_no_image_are_counted(root):
    for name in ("a/readme.txt", "notes.txt", "b/1.png.txt"):
        (root / name).write_text("of no image")
    data = read(root)
    assert data.captions is None
    assert data.notes == (f"{root}: left out are 3 other files (as 1.png.txt)",)


def test_white_space_and_a_byte_order_mark_are_no_part_of_a_caption(root):
    data = read(with_texts(root, a1="\ufeff  two\r\nlines,\tone caption\u2028\n", a2="é 日本 😀"))
    assert data.captions[:2] == ["two lines, one caption", "é 日本 😀"]


FAULTS = [
    (None, "1.png must have a caption as other images have, got none; write 1.txt beside it"),
    (b"", "1.txt must hold a caption, a text of 1 to 4096 characters, got an empty one"),
    (b" \n\t", "got an empty one; write one or remove the image"),
    ("\u200b\ufeff", "got an empty one"),
    (b"x" * 4097, "got 4097 characters; shorten it to 4096"),
    (b"x" * 70_000, "a/1.txt must have at most 65,536 bytes, got more"),
    ("gr\u00fcn".encode("latin-1"), "1.txt must hold .* got byte 0xfc at 2, which is no UTF-8; save it as UTF-8"),
    ("green".encode("utf-16"), "got byte 0xff at 0, which is no UTF-8"),
    ("green".encode("utf-16-le"), r"got the character U\+0000 in it; save it as UTF-8"),
    (b"red\x1b[31m", r"got the character U\+001B in it"),
]


@pytest.mark.parametrize(("content", "message"), FAULTS)
def test_a_bad_caption_is_an_error_when_asked_for_or_a_bad_image(root, content, message):
    data = read(with_texts(root, a1=content))
    with pytest.raises(BadImageError, match=message) as caught:
        data.captions[0]
    assert str(root / "a" / "1") in str(caught.value)
    assert str(caught.value).isprintable()
    assert data.captions[1:] == ALL[1:]
    assert data.load(0).shape == (3, 4, 4)  # of no concern to who asks for no caption
    assert isinstance(fingerprint(data), str)
    skipping = open_data(root, size=4, captions=True, on_bad_image="skip")
    shown = list(skipping.captions)
    assert shown[0] in ALL[1:3]
    assert shown[1:] == ALL[1:]
    assert skipping.skipped == {0: str(caught.value)}
    place = ALL.index(shown[0])
    assert (skipping.load(0) == data.load(place)).all()


def test_captions_that_some_images_lack_are_counted(root):
    data = read(with_texts(root, a2=None, b1=None))
    assert data.notes == (f"{root}: 2 of 6 images have no caption (as {root}/a/2.png)",)
    assert len(data.captions) == 6


@pytest.mark.parametrize("loaded_before", [True, False])
def test_what_stands_for_an_image_is_the_same_whichever_is_asked_for_first(root, loaded_before):
    with_texts(root, a1=b"", b3=b"\xff")
    first = open_data(root, size=4, captions=True, on_bad_image="skip")
    images = [first.load(index) for index in range(6)] if loaded_before else None
    captions = list(first.captions)
    images = images or [first.load(index) for index in range(6)]
    plain = read(root)
    for image, caption in zip(images, captions, strict=True):
        assert (image == plain.load(ALL.index(caption))).all()
    stream = batches(open_data(root, size=4, captions=True, on_bad_image="skip"), 6, seed=0, workers=1)
    batch = next(stream)
    stream.close()
    again = next(batches(first, 6, seed=0))
    assert (batch.images == again.images).all()


def test_wrappers_give_the_caption_of_what_they_show(root):
    data = read(with_texts(root))
    assert list(without_images(data).captions) == ALL
    assert list(Relabelled(data, ("b", "a", "c"), "others").captions) == ALL
    loads = []
    skipping = SkipBadImages(data)
    skipping.load(2)
    data.load = lambda index: loads.append(index)
    assert skipping.captions[2] == ALL[2]
    assert loads == [], "an image that is known to be good is not loaded again for its caption"


def test_a_caption_that_is_no_regular_file(root):
    """F-rows of pipes: asking never waits."""
    with_texts(root)
    (root / "a" / "1.txt").unlink()
    os.mkfifo(root / "a" / "1.txt")
    with pytest.raises(UserError, match=r"a/1.txt must be a regular file, got a pipe"):
        read(root).captions[0]
    data = read(root)
    (root / "a" / "2.txt").unlink()
    with pytest.raises(BadImageError, match=r"a/2.txt must be a caption, but it is missing"):
        data.captions[1]


# Lines of metadata.jsonl


def test_lines_in_the_root_in_class_folders_and_beside_the_splits(root, tmp_path):
    with_lines(root, *pairs(root))
    expected = ["line 1", "line 2", "line 3"] * 2
    data = read(root)
    assert list(data.captions) == expected
    assert data.notes == ()
    assert list(pickle.loads(pickle.dumps(data)).captions) == expected
    (root / "metadata.jsonl").unlink()
    for name in "ab":
        with_lines(root / name, *pairs(root / name), "", "  ")
    assert list(read(root).captions) == expected
    assert list(read(root / "a").captions) == expected[:3]
    for name in "ab":
        (root / name / "metadata.jsonl").unlink()
    shutil.copytree(root, tmp_path / "own" / "train")
    shutil.copytree(root / "b", tmp_path / "own" / "test" / "b")
    with_lines(tmp_path / "own", *pairs(tmp_path / "own"))
    assert list(open_data(tmp_path / "own", size=4, captions=True).captions) == expected
    test = open_data(tmp_path / "own", size=4, captions=True, split="test")
    assert list(test.captions) == expected[:3]
    assert notes_of(test) == ()
    with_lines(tmp_path / "own", *pairs(tmp_path / "own"), ("tain/a/1.png", "x"))
    with pytest.raises(UserError, match=r"metadata.jsonl, line 10 must name an image of the data, got 'tain/a/1.png'"):
        open_data(tmp_path / "own", size=4, captions=True)


def test_a_folder_may_be_where_one_stands(root, monkeypatch):
    with_lines(root, *pairs(root))
    monkeypatch.chdir(root)
    assert read(".").captions[3] == "line 1"
    with_lines(root / "a", *pairs(root / "a"))
    (root / "metadata.jsonl").unlink()
    monkeypatch.chdir(root / "a")
    assert list(open_data(".", size=4, captions=True).captions) == ["line 1", "line 2", "line 3"]


def test_names_and_fields_as_others_write_them(root):
    odd = ["./a/1.png", "a//2.png", "a/./3.png", "b/1.png", "b/2.png", "b/3.png"]
    lines = [json.dumps({"caption": f" {name} ", "file_name": name, "extra": [1]}) + "\r" for name in odd]
    path = with_lines(root, *lines)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert list(read(root).captions) == odd
    with_lines(root, *[json.dumps({"file_name": name, "label": 3, "text": None}) for name in odd], '{"no": "name"}')
    data = read(root)
    assert data.captions is None
    assert data.notes == (f"{root}: left out are 1 other file (as metadata.jsonl)",)


LINES = [
    ('{"file_name": "a/1.png", "text"', r"line 7 must be readable JSON, but: .*; correct the line"),
    ("[1]", "line 7 must hold an object, got a list; correct the line"),
    ("[" * 10**5, "line 7 must be readable JSON"),
    ('{"text": "x"}', "line 7 must have 'file_name', but it is missing; correct the line"),
    ('{"file_name": 5, "text": "x"}', "line 7: 'file_name' must be a text, got 5"),
    ('{"file_name": "a/1.png", "text": "x", "text": "y"}', "line 7 must be readable JSON, but: 'text' is given twice"),
    (("a/1.png", "again"), r"must have its caption once, got one in .*jsonl, line 1 and one in .*jsonl, line 7; keep"),
    (("./a/1.png", "again"), "line 1 and one in"),
]


@pytest.mark.parametrize(("line", "message"), LINES)
@pytest.mark.parametrize("skip", ["error", "skip"])
def test_what_cannot_be_laid_to_an_image_is_refused_at_once(root, line, message, skip):
    path = with_lines(root, *pairs(root), line)
    with pytest.raises(UserError, match=message) as caught:
        open_data(root, size=4, captions=True, on_bad_image=skip)
    assert str(path) in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(
    "content", ["é\n".encode("latin-1"), "{}".encode("utf-16"), b"\0\n", b"{" + b" " * 2**20 + b"}"]
)
def test_files_of_another_kind_called_so(root, content):
    (root / "metadata.jsonl").write_bytes(content)
    with pytest.raises(UserError, match=r"metadata.jsonl, line 1 must"):
        read(root)


def test_a_line_in_another_encoding_is_refused_or_left_out_and_counted(root):
    lines = [json.dumps({"file_name": f"a/{place}.png", "text": "é"}, ensure_ascii=False) for place in (1, 2)]
    path = with_lines(root, *pairs(root)[2:])
    path.write_bytes(path.read_bytes() + b"".join(b"\n" + line.encode("latin-1") for line in lines))
    with pytest.raises(UserError, match=r"jsonl, line 5 must be readable JSON, but: .* 0xe9 at .*; save it as UTF-8"):
        read(root)
    data = open_data(root, size=4, captions=True, on_bad_image="skip")
    left_out, bare = notes_of(data)
    assert left_out.startswith(f"{path}, line 5 must be readable JSON")
    assert left_out.endswith("(2 lines left out)")
    assert bare.endswith("2 of 6 images have no caption (as " + str(root / "a" / "1.png") + ")")
    assert data.captions[0] == data.captions[1] == data.data.captions[2]  # of the only one of its class


@pytest.mark.parametrize(
    "name", ["c/1.png", "a/9.png", "../root/a/1.png", "/a/1.png", "a\\1.png", "", "1.png", "a/x\n"]
)
def test_a_line_without_its_image(root, name):
    path = with_lines(root, *pairs(root), (name, "lost"), ("nor/this.png", "lost"))
    told = r"line 7 must name an image of the data, got .* \(2 such lines\); names are relative to the folder of"
    with pytest.raises(UserError, match=told) as caught:
        read(root)
    assert str(caught.value).isprintable()
    data = open_data(root, size=4, captions=True, on_bad_image="skip")
    assert [note.partition(" must")[0] for note in notes_of(data)] == [f"{path}, line 7"]
    assert notes_of(data)[0].endswith("(2 lines left out)")
    assert data.captions[0] == "line 1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('""', "got an empty one"),
        ("5", "got 5; write a text"),
        ('["a", "b"]', r"got \['a', 'b'\]"),
        ('"\\ud800"', r"got the character U\+D800"),
        (json.dumps("x" * 5000), "got 5000 characters; shorten it"),
        ('"x", "caption": "y"', "got another in 'caption' than in 'text'; keep one of them"),
        (
            "null",
            r"a/2.png must have a caption as other images have, got none; write 2.txt beside it or a line of meta",
        ),
    ],
)
def test_a_bad_caption_in_a_line(root, text, message):
    lines = pairs(root)
    lines[1] = f'{{"file_name": "a/2.png", "text": {text}}}'
    with_lines(root, *lines)
    data = read(root)
    with pytest.raises(BadImageError, match=message) as caught:
        data.captions[1]
    assert ("metadata.jsonl, line 2 must" in str(caught.value)) == (text != "null")
    assert isinstance(fingerprint(data), str)
    skipping = open_data(root, size=4, captions=True, on_bad_image="skip")
    assert skipping.captions[1] in ("line 1", "line 3")
    assert list(skipping.skipped) == [1]


def test_a_missing_line_is_a_missing_caption(root):
    with_lines(root, *pairs(root)[:-1])
    data = read(root)
    assert data.notes == (f"{root}: 1 of 6 images have no caption (as {root}/b/3.png)",)
    with pytest.raises(BadImageError, match=r"b/3.png must have a caption"):
        data.captions[5]


def test_two_captions_of_one_image_are_refused(root):
    with_lines(root, *pairs(root))
    (root / "b" / "2.txt").write_text("another")
    with pytest.raises(
        UserError, match=r"caption once, got one in .*b/2.txt and one in .*metadata.jsonl, line 5; keep"
    ):
        read(root)
    (root / "b" / "2.txt").unlink()
    with_lines(root / "b", *pairs(root / "b"))
    with pytest.raises(UserError, match=r"one in .*root/metadata.jsonl, line 4 and one in .*b/metadata.jsonl, line 1"):
        read(root)
    with_lines(root, *pairs(root)[:3])
    assert len(list(read(root).captions)) == 6


# What is kept of them


def test_opening_reads_no_text_and_a_second_start_scans_nothing(root, tmp_path, monkeypatch):
    from var.data import listing

    with_texts(root, b2=None)
    for name in "ab":
        os.utime(root / name, (OLD, OLD))
    index = tmp_path / "index.json"
    scans, reads = [], []
    scan, read_bytes = listing.read_entries, caption_files.read_bytes
    monkeypatch.setattr(listing, "read_entries", lambda folder, **o: scans.append(folder.name) or scan(folder, **o))
    monkeypatch.setattr(caption_files, "read_bytes", lambda path, **o: reads.append(path) or read_bytes(path, **o))
    first, again = read(root, index=index), read(root, index=index)
    assert (scans, reads) == (["root", "a", "b", "root"], [])
    assert again.notes == first.notes != ()
    assert again.captions[3] == "picture b1"
    assert len(reads) == 1
    assert fingerprint(again) == fingerprint(first)
    (root / "b" / "2.txt").write_text("new")
    assert read(root, index=index).captions[4] == "new"


def test_an_index_of_before_is_scanned_anew(root, tmp_path):
    with_texts(root)
    for name in "ab":
        os.utime(root / name, (OLD, OLD))
    index = tmp_path / "index.json"
    read(root, index=index)
    right = json.loads(index.read_text())
    old = {name: entry[:3] for name, entry in right["folders"].items()}
    index.write_text(json.dumps(right | {"folders": old}))
    assert list(read(root, index=index).captions) == ALL
    assert json.loads(index.read_text()) == right


def test_the_fingerprint_knows_captions_and_without_them_is_what_it_was(root):
    bare = fingerprint(read(root))
    seen = {bare, fingerprint(read(with_texts(root)))}
    (root / "a" / "1.txt").write_text("picture A1")  # as long as before
    seen.add(fingerprint(read(root)))
    (root / "a" / "1.txt").unlink()
    seen.add(fingerprint(read(root)))
    for path in root.rglob("*.txt"):
        path.unlink()
    assert fingerprint(read(root)) == bare
    for text in ("line", "Line"):
        with_lines(root, ("a/1.png", text))
        seen.add(fingerprint(read(root)))
        assert fingerprint(without_images(read(root))) in seen
    assert len(seen) == 6


def test_the_bound_is_generous_for_bytes():
    assert rules.MOST_BYTES >= 4 * rules.MOST_CHARACTERS
    assert len(rules.caption_in_text(("😀" * 4096).encode(), "x")) == 4096
