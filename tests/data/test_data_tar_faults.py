"""Tar files of others: read whole or refused, labels that are whole numbers, claims that are not believed."""

import io
import json
import tarfile

import pytest
from small_pictures import picture, png, shard

from var.data import TarData, fingerprint, open_data
from var.data.base import notes_of
from var.errors import UserError

PNG = png()


def opened(path):
    return TarData([path], size=6)


def refusal(path):
    with pytest.raises(UserError) as caught:
        opened(path)
    assert str(caught.value).isprintable()
    return str(caught.value)


def one(root, *members):
    return shard(root / "0.tar", [("a.png", PNG), *members])


# Whole


def test_archives_joined_to_one_file_are_read_whole(tmp_path):
    """The row "silent loss of samples": two tars joined by `cat`."""
    parts = [shard(tmp_path / f"{n}.tar", [(f"{n}.png", png(n)), (f"{n}.cls", str(n))]) for n in range(3)]
    joined = tmp_path / "joined.tar"
    joined.write_bytes(b"".join(part.read_bytes() for part in parts))
    data = opened(joined)
    assert data.labels.tolist() == [0, 1, 2]
    assert [int(((data.load(n)[0, 0, 0] + 1) * 127.5).round()) for n in range(3)] == [0, 1, 2]
    joined.write_bytes(parts[0].read_bytes() + parts[1].read_bytes()[:700])
    assert "must be a whole tar file" in refusal(joined)
    joined.write_bytes(parts[0].read_bytes() + b"rubbish" * 100)
    assert "is damaged" in refusal(joined)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
@pytest.mark.parametrize("name", ["b.png", "a.cls"])
def test_samples_that_are_no_regular_members_are_refused(tmp_path, kind, name):
    with tarfile.open(tmp_path / "0.tar", "w") as archive:
        entry = tarfile.TarInfo("a.png")
        entry.size = len(PNG)
        archive.addfile(entry, io.BytesIO(PNG))
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, "a.png"
        archive.addfile(entry)
    assert f"0.tar:{name} must be a regular file in the shard" in refusal(tmp_path / "0.tar")


def test_a_sparse_member_is_refused(tmp_path):
    header = tarfile.TarInfo("a.png")
    header.type = tarfile.GNUTYPE_SPARSE
    (tmp_path / "0.tar").write_bytes(header.tobuf(tarfile.GNU_FORMAT) + bytes(1024))
    assert "got a sparse file" in refusal(tmp_path / "0.tar")


@pytest.mark.parametrize("layout", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names(tmp_path, layout):
    names = ["d" * 300 + "/" + "a" * 200 + ".png", "\u00fc.png", "b\x1b[2J\n.png"]
    data = opened(shard(tmp_path / "0.tar", [(name, PNG) for name in names], format=layout))
    assert [data.load(index).shape for index in range(3)] == [(3, 6, 6)] * 3
    assert data.describe(2).endswith(r":b\x1b[2J\n.png")


def test_what_is_left_out_is_counted(tmp_path):
    names = ["__MACOSX/._a.png", "x/@eaDir/a.png", "._b.png", "c.tif", "d.HEIC", "notes.txt", "e.notpng", "./f.PNG"]
    data = opened(one(tmp_path, *[(name, PNG) for name in names]))
    assert len(data) == 2
    assert notes_of(data) == (
        f"{tmp_path}/0.tar: left out are 2 pictures of unread formats (as c.tif), "
        "1 other file (as notes.txt), 3 hidden or system entries (as ._b.png)",
    )


def test_a_label_of_no_image_is_counted(tmp_path):
    """A sister of "silent loss of samples": an image that is missing beside its label."""
    others = ("b.cls", "0"), ("c.json", '{"label": 0}'), ("d.json", "{}")
    data = opened(one(tmp_path, ("a.cls", "0"), *others))
    assert notes_of(data) == (f"{tmp_path}/0.tar: left out are 2 labels without an image (as b)",)


@pytest.mark.parametrize("name", ["a.cls", "a.json"])
def test_a_label_that_is_told_twice_is_refused(tmp_path, name):
    """A sister of F15: the last one would win."""
    members = [(name, b"0" if name == "a.cls" else b'{"label": 0}')] * 2
    assert f"0.tar:{name} must come once in its sample, got it twice" in refusal(one(tmp_path, *members))


def test_folders_that_are_no_labels_are_told(tmp_path):
    """A sister of "an identity that a file carries is dropped": class folders that were packed as they are."""
    path = shard(tmp_path / "0.tar", [("cat/0.png", PNG), ("dog/0.png", PNG)])
    data = opened(path)
    assert data.classes == ("unlabelled",)
    assert notes_of(data) == (
        f"{path}: no sample has a label (a member cls, or json), so the images of all folders are one class",
    )
    assert notes_of(opened(shard(tmp_path / "1.tar", [("x/0.png", PNG), ("./x/1.png", PNG)]))) == ()


def test_one_folder_is_read_in_one_way(tmp_path):
    shard(tmp_path / "0.tar", [("a.png", PNG)])
    (tmp_path / "1.tar.gz").write_bytes(b"")
    with pytest.raises(UserError, match=r"shards must not be compressed, got .*/1.tar.gz; unpack"):
        open_data(tmp_path, size=4)
    with pytest.raises(UserError, match=r"1.tar.gz', but it is compressed; unpack"):
        open_data(tmp_path / "1.tar.gz", size=4)
    (tmp_path / "1.tar.gz").rename(tmp_path / "1.TAR")
    (tmp_path / "1.TAR").write_bytes((tmp_path / "0.tar").read_bytes())
    assert len(open_data(tmp_path, size=4)) == 2
    (tmp_path / "2.tar").symlink_to(tmp_path / "0.tar")
    with pytest.raises(UserError, match="every shard must be given once"):
        open_data(tmp_path, size=4)
    (tmp_path / "2.tar").unlink()
    picture(tmp_path / "b.png")
    with pytest.raises(UserError, match=r"either shards or images, got both .'0.tar' and 'b.png'.|'1.TAR'"):
        open_data(tmp_path, size=4)


# Claims


def with_header(member, **changes):
    """The header of `member` with bytes changed, and a sum that agrees."""
    content = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    for place, value in changes.get("at", {}).items():
        content[place : place + len(value)] = value
    content[148:156] = b" " * 8
    content[148:156] = b"%06o\0 " % sum(content[:512])
    return bytes(content)


def test_sizes_that_lead_backwards_do_not_go_round_for_ever(tmp_path):
    start = one(tmp_path).read_bytes()[:1024]
    member = tarfile.TarInfo("b.png")
    for size in (b"\xff" * 12, b"\xff" * 10 + b"\xf8\x00"):  # -1, -2048
        (tmp_path / "1.tar").write_bytes(start + with_header(member, at={124: size}) + bytes(2048))
        assert "must be a whole tar file" in refusal(tmp_path / "1.tar")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_names_of_gigabytes_are_not_read(tmp_path, kind):
    """F7."""
    header = tarfile.TarInfo("x")
    header.type, header.size = kind, 6 * 2**30
    path = one(tmp_path)
    with open(path, "r+b") as file:
        file.seek(1024)
        file.write(header.tobuf(tarfile.GNU_FORMAT))
        file.truncate(7 * 2**30)  # sparse: it takes no room
    assert "must be a whole tar file" in refusal(path)


def test_padding_without_end_and_headers_without_end(tmp_path):
    path = one(tmp_path)
    with open(path, "r+b") as file:
        file.truncate(2**40)
    assert "more than 67108864 zero bytes follow" in refusal(path)
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    path.write_bytes(header.tobuf() * 3000 + bytes(1024))
    assert "must be a whole tar file" in refusal(path)


# Labels


@pytest.mark.parametrize(
    "label", ["1.7", "true", "1e3", "+3", "1" * 30, "1_0", "\u0663", "", "0x1", "1\0", "cat", "1 2", "NaN", "None"]
)
def test_texts_that_are_no_labels(tmp_path, label):
    """F15 and F9: 1.7 was 1."""
    assert "0.tar:a.cls must hold a label, a whole number" in refusal(one(tmp_path, ("a.cls", label)))


@pytest.mark.parametrize(
    "label",
    ["1.7", "1.0", "true", "1e3", '"3"', "NaN", "[1]", "{}", "1" * 30, "[" * 100_000, '1, "label": 2', "Infinity"],
)
def test_values_that_are_no_labels(tmp_path, label):
    content = f'{{"label": {label}}}'
    assert "0.tar:a.json must hold a label" in refusal(one(tmp_path, ("a.json", content)))


@pytest.mark.parametrize("label", ["7", " 7 ", "7\n", "007"])
def test_texts_that_are_labels(tmp_path, label):
    assert opened(one(tmp_path, ("a.cls", label))).labels.tolist() == [7]


@pytest.mark.parametrize("label", [100_000, 999_999_999, 10**17])
def test_a_label_does_not_decide_how_much_memory_is_taken(tmp_path, label):
    """F7: a list of 10^9 names was made."""
    for name, content in (("a.cls", str(label)), ("a.json", json.dumps({"label": label}))):
        message = refusal(one(tmp_path, (name, content)))
        assert (
            f"0.tar:a.png: there may be at most 100000 classes, labels from 0 to 99999, got a label of {label}"
            in message
        )
    with pytest.raises(UserError, match="at most 1048576 bytes"):
        opened(one(tmp_path, ("a.cls", "1" * 2_000_000)))


# Names of classes


@pytest.mark.parametrize(
    "content", ["\ufeffdog\ncat\n", "dog\r\ncat\r\n", "dog\rcat", " dog \ncat\t\n", "dog\ncat"], ids=range(5)
)
def test_texts_of_others_name_the_classes(tmp_path, content):
    """The row "text files of others": a byte-order mark was part of a name."""
    path = one(tmp_path, ("a.cls", "1"))
    (tmp_path / "classes.txt").write_bytes(content.encode())
    assert opened(path).classes == ("dog", "cat")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"dog\n\ncat\n", "got an empty line 2"),
        (b"dog\ncat\n\n", "got an empty line 3"),
        (b"dog\n \ncat", "got an empty line 2"),
        (b"", "got an empty line 1"),
        (b"dog\ncat\ndog\n", "class names must differ from each other, got 'dog' twice"),
        (b"dog\ndog \n", "class names must differ"),
        ("dog\n\u00e9\ne\u0301".encode(), "class names must differ"),
        ("d\u00f6g\ncat".encode("latin1"), "must be UTF-8"),
        ("d\u00f6g\ncat".encode("utf-16"), "must be UTF-8"),
        (b"a" * 10**7, "it has 10000000 bytes, more than 255"),
        (b"a" * 400 + b"\ncat", "it has 400 bytes, more than 255"),
        (b"dog\x1b[2J\ncat", "it has a control character"),
        ("dog\x85x\ncat".encode(), "it has a control character"),
        (b"dog", r"must have a label in [0, 1), got 1"),
    ],
)
def test_texts_that_name_no_classes(tmp_path, content, reason):
    path = one(tmp_path, ("a.cls", "1"))
    (tmp_path / "classes.txt").write_bytes(content)
    assert reason in refusal(path)


def test_names_without_images_are_said(tmp_path):
    path = one(tmp_path, ("a.cls", "1"))
    (tmp_path / "classes.txt").write_text("dog\ncat\nemu\n")
    assert opened(path).notes == ("2 of 3 classes have no image in these shards",)
    (tmp_path / "classes.txt").unlink()
    (tmp_path / "classes.txt").mkdir()
    assert "classes.txt must be a regular file, got a folder" in refusal(path)


# The index


COLUMNS = [["a.png"], [0], [1], [None]]


def changed(place, column):
    return ["state", [column if number == place else each for number, each in enumerate(COLUMNS)], {}]


WRONG = [5, [], ["state", 1, {}], ["state", COLUMNS[:3], {}], ["state", COLUMNS, {"x": 5}], changed(0, [5]),
         changed(1, [-1]), changed(2, [10**12]), changed(3, [True]), changed(3, [])]  # fmt: skip


@pytest.mark.parametrize("entry", WRONG)
@pytest.mark.parametrize("whole", [False, True])
def test_an_index_of_wrong_types_is_made_anew(tmp_path, whole, entry):
    """F6."""
    path, index = one(tmp_path), tmp_path / "index.json"
    expected = fingerprint(TarData([path], size=6, index=index))
    right = index.read_text()
    state = json.loads(right)["shards"][str(path)][0]
    entry = [state if part == "state" else part for part in entry] if isinstance(entry, list) else entry
    wrong = entry if whole else {str(path): entry}
    index.write_text(json.dumps({"kind": "var tar index 1", "shards": wrong}))
    assert fingerprint(TarData([path], size=6, index=index)) == expected
    assert index.read_text() == right
