"""What lies in a folder beside images: left out and counted, or refused, but never lost in silence."""

import os
import shutil

import pytest
from small_pictures import picture

from var.data import FolderData, open_data
from var.data.base import notes_of
from var.errors import UserError

SYSTEM = (
    "__MACOSX", "@eaDir", "lost+found", ".ipynb_checkpoints", "$RECYCLE.BIN", "System Volume Information", "#recycle",
    "@__thumb", "Network Trash Folder", "found.000",
)  # fmt: skip


@pytest.fixture
def root(tmp_path):
    for name in ("a/1.png", "b/1.png"):
        picture(tmp_path / "root" / name)
    return tmp_path / "root"


@pytest.mark.parametrize("name", SYSTEM)
def test_folders_of_systems_are_no_classes(root, name):
    """The row "system folders": they are ignored as hidden ones are, and counted."""
    picture(root / name / "thumb.png")
    picture(root / "a" / name / "thumb.png")
    data = open_data(root, size=4)
    assert (data.classes, len(data)) == (("a", "b"), 2)
    assert notes_of(data) == (f"{root}: left out are 2 hidden or system entries (as {name})",)


def test_every_kind_of_what_is_left_out_is_counted(root):
    """The row "silent loss of samples", and files with other suffixes."""
    for name in ("a/x.tif", "b/y.HEIC", "b/notes.txt", "readme.md", "a/._1.png", "b/Thumbs.db", ".DS_Store"):
        (root / name).write_bytes(b"")
    (root / "a" / "annotations").mkdir()
    picture(root / "a" / "2.PNG")
    data = FolderData(root, size=4)
    assert len(data) == 3
    assert data.notes == (
        f"{root}: left out are 2 pictures of unread formats (as x.tif), 1 sub-folder (as a/annotations), "
        "2 other files (as notes.txt), 3 hidden or system entries (as .DS_Store)",
    )
    assert FolderData(root / "b", size=4).notes[0].startswith(f"{root}/b: left out are 1 picture of an unread format")


def test_the_notes_are_the_same_from_a_stored_listing(root, tmp_path, monkeypatch):
    (root / "a" / "x.tif").write_bytes(b"")
    for name in ("a", "b"):
        os.utime(root / name, (1_600_000_000, 1_600_000_000))
    first = FolderData(root, size=4, index=tmp_path / "index.json")
    written = (tmp_path / "index.json").stat().st_mtime_ns
    again = FolderData(root, size=4, index=tmp_path / "index.json")
    assert again.notes == first.notes != ()
    assert (tmp_path / "index.json").stat().st_mtime_ns == written


@pytest.mark.parametrize("place", ["sub/2.png", "sub/deeper/2.JPG", "x.png/2.png"])
def test_images_below_a_class_folder_are_not_lost(root, place):
    """The row "silent loss of samples": a class folder's sub-folder of images."""
    picture(root / "a" / place)
    with pytest.raises(
        UserError, match=f"directly in the class folder {root}/a, got {root}/a/{place} in a folder in it"
    ):
        FolderData(root, size=4)


def test_a_sub_folder_that_gets_images_later_is_seen_in_spite_of_the_index(root, tmp_path):
    (root / "a" / "sub").mkdir()
    for place in (root / "a", root / "b"):
        os.utime(place, (1_600_000_000, 1_600_000_000))
    FolderData(root, size=4, index=tmp_path / "index.json")
    picture(root / "a" / "sub" / "2.png")
    with pytest.raises(UserError, match="directly in the class folder"):
        FolderData(root, size=4, index=tmp_path / "index.json")


def test_an_empty_class_says_what_it_has_instead(root):
    (root / "c").mkdir()
    (root / "c" / "1.tif").write_bytes(b"")
    with pytest.raises(UserError, match=r"no images in the class folder .*/c; .* left out are 1 picture of an unread"):
        FolderData(root, size=4)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"\xff", "it has a byte that is no UTF-8"),
        (b"a\nb", "it has a control character"),
        (b"\x1b[2J", "it has a control character"),
        ("a\u2028b".encode(), "it has a line break"),
    ],
)
def test_a_class_that_cannot_be_generated_is_refused_when_it_is_listed(root, name, reason):
    """F12: before, it was trained to the end."""
    folder = os.path.join(os.fsencode(root), name)
    os.mkdir(folder)
    shutil.copy(root / "a" / "1.png", os.path.join(folder, b"1.png"))
    with pytest.raises(UserError, match=reason) as caught:
        FolderData(root, size=4)
    assert str(caught.value).isprintable()


def test_classes_that_look_the_same_are_refused_and_those_that_do_not_are_kept(root):
    picture(root / "A" / "1.png")  # letters have both
    assert FolderData(root, size=4).classes == ("A", "a", "b")
    for name in ("\u00e9", "e\u0301"):
        picture(root / name / "1.png")
    with pytest.raises(UserError, match="class names must differ from each other"):
        FolderData(root, size=4)
    shutil.rmtree(root / "e\u0301")
    for name in ("a ", "b\u200b", "\u202ea"):
        picture(root / name / "1.png")
        with pytest.raises(UserError, match=r"must differ from each other, got '.*' and '.*', which look"):
            FolderData(root, size=4)
        shutil.rmtree(root / name)
    for name in ("\u200b", "\u00a0\u200d"):
        picture(root / name / "1.png")
        with pytest.raises(UserError, match="it is empty"):
            FolderData(root, size=4)
        shutil.rmtree(root / name)


def test_files_of_odd_names_are_read_and_shown_in_one_line(root):
    """F11 and F12."""
    shutil.copy(root / "a" / "1.png", os.path.join(os.fsencode(root / "a"), b"\x1b[2J\n\xff.png"))
    data = FolderData(root, size=4)
    assert data.load(0).shape == (3, 4, 4)
    assert data.describe(0) == rf"{root}/a/\x1b[2J\n\udcff.png"
    (root / "a" / "\x1b.png").write_bytes(b"no picture")
    with pytest.raises(UserError) as caught:
        [FolderData(root, size=4).load(index) for index in range(4)]
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("on_bad_image", ["error", "skip"])
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_not_opened(root, make, on_bad_image):
    """F10: neither waited for nor read without end."""
    make(root / "a" / "0.png")
    with pytest.raises(UserError, match=r"a/0\.png must be a regular file"):
        open_data(root, size=4, on_bad_image=on_bad_image)


def test_the_order_is_that_of_the_names_whoever_wrote_them_first(tmp_path):
    """The row "the number depends on what does not matter"."""
    names = ["1.png", "01.png", "1.jpg", "B.png", "a.png", "\u00e4.png"]
    for place, order in (("x", names), ("y", names[::-1])):
        for name in order:
            picture(tmp_path / place / name)
    x, y = (FolderData(tmp_path / place, size=4) for place in "xy")
    assert [path.name for path in x.paths] == [path.name for path in y.paths] == sorted(names)
