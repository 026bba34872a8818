"""What is written is never mixed with what is read, nor with what was written before."""

import os
import stat

import numpy as np
import pytest
import torch
from annotations import unchecked
from small_pictures import picture, png, shard

from var.cli import main
from var.data import ArrayData, FolderData, open_data, shapes, write_folder
from var.data.apart import check_apart
from var.errors import UserError
from var.terms import Terms


def write(data, folder, **options):
    return write_folder(data, folder, progress=False, **options)


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def own(tmp_path):
    """A data set with splits, as files."""
    for name in ("train/a/1.png", "train/b/1.png", "val/a/1.png"):
        picture(tmp_path / "own" / name)
    return tmp_path / "own"


def test_another_split_is_not_mixed_in(tmp_path):
    """The row "own files overwritten or mixed"."""
    out = write(shapes(size=8, length=24), tmp_path / "out")
    before = names(out)
    others = shapes("test", size=8, length=24), shapes(size=16, length=24), shapes(size=8, length=36)
    for other in (*others, ArrayData(torch.zeros(24, 3, 8, 8), [0] * 24, ["red circle"])):
        with pytest.raises(UserError, match="must be empty or absent, but it holds other images; choose another"):
            write(other, out)
    assert names(out) == before


def test_the_same_call_may_be_repeated_and_go_further(tmp_path):
    data, out = shapes(size=8, length=24), tmp_path / "out"
    write(data, out, count=np.int64(6))
    (out / "red circle" / "00.png").unlink()  # as if it had been interrupted
    (out / "red circle" / ".00.png.99999999.tmp").write_bytes(b"half")
    write(data, out, count=6)
    write(data, out)
    assert len(FolderData(out, size=8)) == 24
    assert FolderData(out, size=8).notes == ()
    with pytest.raises(UserError, match="holds 24 images already, got a count of 6"):
        write(data, out, count=6)


def test_splits_of_the_same_names_and_sizes_are_told_apart(own, tmp_path):
    picture(own / "val" / "b" / "1.png")
    write(open_data(own, size=4), tmp_path / "out")
    with pytest.raises(UserError, match="holds other images"):
        write(open_data(own, size=4, split="val"), tmp_path / "out")
    with pytest.raises(UserError, match="which holds written data; choose another folder"):
        write(open_data(own, size=4, split="val"), tmp_path / "out" / "val")


def test_what_was_written_in_part_is_not_taken_for_the_whole(tmp_path, monkeypatch):
    data = ArrayData(torch.zeros(3, 3, 4, 4), [0, 0, 0])

    def interrupt(index):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "load", lambda index: data.images[0] if index == 0 else interrupt(index))
    with pytest.raises(KeyboardInterrupt):
        write(data, tmp_path / "out")
    with pytest.raises(UserError, match="out was written only in part; repeat the call"):
        FolderData(tmp_path / "out", size=4)
    monkeypatch.undo()
    write(data, tmp_path / "out")
    assert len(FolderData(tmp_path / "out", size=4)) == 3


def test_what_a_user_put_there_is_not_mixed_in(tmp_path):
    data, out = shapes(size=8, length=12), tmp_path / "out"
    picture(out / "red circle" / "mine.png")
    with pytest.raises(UserError, match="must be empty or absent, but it holds other images"):
        write(data, out)
    os.remove(out / "red circle" / "mine.png")
    os.rmdir(out / "red circle")
    write(data, out)
    picture(out / "red circle" / "mine.png")
    with pytest.raises(UserError, match=r"red circle must hold only what was written, got mine\.png"):
        write(data, out)


@pytest.mark.parametrize("record", ["[1]", "{", "{}", '{"kind": "var written data 1", "count": "x"}', "[" * 10**5])
def test_a_record_of_another_form_is_one_line(tmp_path, record):
    """F6."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".written.json").write_text(record)
    with pytest.raises(UserError):
        write(shapes(size=8, length=12), tmp_path / "out")
    assert names(tmp_path / "out") == [".written.json"]


@pytest.mark.parametrize(
    "name",
    [
        "lost+found",
        "__MACOSX",
        ".hidden",
        "a/b",
        "a\\b",
        "a:b",
        "Thumbs.db",
        "a.",
        " a",
        "a\x1b",
        "\udcff",
        "a" * 256,
        "",
    ],
)
def test_classes_that_would_not_be_read_back(tmp_path, name):
    data = ArrayData(torch.zeros(2, 3, 4, 4), [0, 1], ["one", "two"])
    data.classes = ("one", name)
    with pytest.raises(UserError) as caught:
        write(data, tmp_path / "out")
    assert str(caught.value).isprintable()
    assert not (tmp_path / "out").exists()


def test_names_that_the_file_system_takes_for_one(tmp_path):
    """On Linux "A" and "a" are two; a link makes them one here, as other systems do."""
    data = ArrayData(torch.zeros(2, 3, 4, 4), [0, 1], ["A", "a"])
    assert FolderData(write(data, tmp_path / "two"), size=4).classes == ("A", "a")
    (tmp_path / "one" / "A").mkdir(parents=True)
    from var.data.write import _make_folders

    (tmp_path / "one" / "a").symlink_to("A")
    with pytest.raises(UserError, match="takes 'A' and 'a' for one folder; rename"):
        _make_folders(tmp_path / "one", {"A": set(), "a": set()})


@pytest.mark.parametrize("count", ["3", 1.5, True, 0, 13, -1])
def test_counts_that_are_none(tmp_path, count):
    with unchecked(), pytest.raises(UserError, match=r"the count must lie in \[1, 12\]"):
        write(shapes(size=8, length=12), tmp_path / "out", count=count)
    with pytest.raises(UserError, match="only images of 1 or 3 channels become pictures, got 5"):
        write(ArrayData(torch.zeros(2, 5, 4, 4), [0, 1]), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("target", [".", "x", "a", "a/b/c", "../train", "../link/x", "..", "../.."])
def test_nothing_is_written_into_its_own_source(own, monkeypatch, target):
    """The row "own files overwritten or mixed"; relative, by a link, and around it."""
    (own / "link").symlink_to(own / "train")
    monkeypatch.chdir(own / "train")
    data = open_data(own / "train", size=4)
    before = names(own)
    for source in ("../train", own / "link"):
        with pytest.raises(UserError, match=r"the output .* must lie apart from the data, but it (is|lies in|holds) "):
            write(open_data(source, size=4), target)
        with pytest.raises(UserError, match="must lie apart"):
            check_apart(target, data.places)
    assert names(own) == before


def test_what_lies_beside_is_fine(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = shard(tmp_path / "0.tar", [("a.png", png())])
    write(open_data(source, size=4), "out")
    write(open_data("own", size=4), "own-2")  # its name only begins so
    monkeypatch.setenv("HOME", str(tmp_path))
    write(open_data("own", size=4), "~/home")
    assert (tmp_path / "home" / "a").is_dir()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize("target", ["own", "own/new", "own/train", "own/val/a", ".", "own/../own/x", "link", "link/x"])
def test_the_command_looks_at_the_whole_source(own, tmp_path, monkeypatch, capsys, target):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("own")
    before = names(tmp_path)
    assert main(["data", "write", "own", target, "--size", "4", "--quiet"]) == 2
    assert "must lie apart from the data" in capsys.readouterr().err
    assert names(tmp_path) == before


@pytest.mark.parametrize("target", [".", "runs/vq", "train", "link/run", "..", "train/../new"])
@pytest.mark.parametrize("plan", [(), ("--plan",)])
def test_a_run_lies_apart_from_its_data(own, monkeypatch, capsys, target, plan):
    """The row "output inside the data": nothing was refused, and the next start could not go on."""
    monkeypatch.chdir(own)
    (own.parent / "link").symlink_to(own)
    target = target.replace("link", "../link")
    before = names(own)
    options = ["--preset", "digits", "--set", "vqvae.in_channels=3", "--quiet", "--output", target, *plan]
    for source in (".", str(own), "../link"):
        assert main(["train", "vqvae", source, *options]) == 2
        assert "must lie apart from the data" in capsys.readouterr().err
    assert names(own) == before


def test_a_run_takes_no_folder_of_others_and_leaves_nothing_there(own, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("")
    options = ["--preset", "digits", "--set", "vqvae.in_channels=3", "--quiet", "--output", str(tmp_path / "other")]
    assert main(["train", "vqvae", str(own), *options]) == 2
    assert "must be a new folder or that of a run" in capsys.readouterr().err
    assert names(tmp_path / "other") == ["notes.txt"]


def test_the_command_says_what_was_written_and_left_out(own, tmp_path, capsys):
    (own / "train" / "a" / "x.tif").write_bytes(b"")
    assert main(["data", "write", str(own), str(tmp_path / "out"), "--size", "4", "--count", "1", "--quiet"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"wrote 1 image of 1 class into {tmp_path}/out",
        f"{own}/train: left out are 1 picture of an unread format (as x.tif)",
    ]


def test_who_may_read_the_files(tmp_path):
    """The row "modes and places": as for any new file."""
    before = os.umask(0o027)
    try:
        out = write(ArrayData(torch.zeros(1, 3, 4, 4), [0]), tmp_path / "out")
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.rglob("*") if path.is_file()} == {0o640}


def test_the_terms_of_the_images_go_with_them(tmp_path):
    """Whatever is trained on a written folder, or written from it, says what the data say."""
    data = ArrayData(torch.zeros(2, 3, 8, 8), [0, 0], ["red"], licence="CC BY 4.0", attribution="By us.")
    first = FolderData(write(data, tmp_path / "first"), size=8)
    second = open_data(write(first, tmp_path / "second"), size=8, on_bad_image="skip")
    assert Terms.of(first) == Terms.of(second) == Terms("CC BY 4.0", "By us.")
    free = ArrayData(torch.zeros(2, 3, 8, 8), [0, 0], ["red"])
    assert Terms.of(FolderData(write(free, tmp_path / "free"), size=8)) == Terms()
    assert Terms.of(FolderData(write(shapes(size=8, length=12), tmp_path / "drawn"), size=8)) == Terms("MIT")
    (tmp_path / "first" / ".written.json").write_text('{"licence": 4}')
    with pytest.raises(UserError, match=r"written\.json: 'licence' must be a text or null, got 4; write the data anew"):
        FolderData(tmp_path / "first", size=8)
