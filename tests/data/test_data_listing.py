"""Listing of folders: compact, in the right order, and remembered no longer than it is true."""

import json
import os
import pickle
from pathlib import Path

import pytest

from var.data import FolderData, fingerprint, listing, open_data
from var.data.listing import Names, Paths
from var.errors import UserError

OLD = 1_600_000_000
"""Seconds; a folder changed then has settled."""


def make(root, **classes):
    for name, files in classes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for file in files:
            (root / name / file).write_bytes(b"")
        os.utime(root / name, (OLD, OLD))
    return root


def test_names_are_kept_whatever_they_are():
    some = ["a.png", "", "ü.png", "\udcff.png", "b" * 300]
    names = Names(some)
    assert list(names) == some
    assert names[-1] == some[-1]
    assert names[1:3] == some[1:3]
    assert list(pickle.loads(pickle.dumps(names))) == some
    with pytest.raises(IndexError):
        names[5]


def test_paths_stand_in_their_folders():
    paths = Paths([Path("r/a"), Path("r/b")], [["1", "2"], ["1"]])
    assert [str(path) for path in paths] == ["r/a/1", "r/a/2", "r/b/1"]
    assert paths[1:] == [Path("r/a/2"), Path("r/b/1")]
    assert Path("r/b/1") in paths
    assert len(paths) == 3


@pytest.fixture
def scans(monkeypatch):
    """Names of the folders that are scanned from now on."""
    seen, scan = [], listing.read_entries

    def record(folder, **options):
        seen.append(folder.name)
        return scan(folder, **options)

    monkeypatch.setattr(listing, "read_entries", record)
    return seen


def paths(root, index=None, **options):
    data = FolderData(root, size=4, index=index, **options)
    return [str(path.relative_to(root)) for path in data.paths]


def test_a_stored_listing_spares_the_scan_until_a_folder_changes(tmp_path, scans):
    root, index = make(tmp_path / "root", a=["1.png"], b=["1.png", "2.png"]), tmp_path / "made" / "index.json"
    expected = ["a/1.png", "b/1.png", "b/2.png"]
    assert paths(root, index) == paths(root) == expected
    scans.clear()
    assert paths(root, index) == expected
    assert scans == ["root"]
    (root / "a" / "0.png").write_bytes(b"")
    make(root, c=["9.png"])
    (root / "b" / "2.png").unlink()
    scans.clear()
    assert paths(root, index) == paths(root) == ["a/0.png", "a/1.png", "b/1.png", "c/9.png"]
    assert scans[:4] == ["root", "a", "b", "c"]


def test_a_folder_changed_just_now_is_scanned_again(tmp_path, scans):
    root, index = make(tmp_path / "root", a=["1.png"], b=["1.png"]), tmp_path / "index.json"
    (root / "a" / "2.png").write_bytes(b"")
    paths(root, index)
    scans.clear()
    paths(root, index)
    assert scans == ["root", "a"]


def test_a_listing_of_another_folder_is_not_believed(tmp_path, scans):
    index = tmp_path / "index.json"
    one, two = make(tmp_path / "1", a=["1.png"]), make(tmp_path / "2", a=["2.png"])
    assert paths(one, index) == ["a/1.png"]
    assert paths(two, index) == ["a/2.png"]
    assert paths(two, index, keep_broken_links=True) == ["a/2.png"]
    assert scans == ["1", "a", "2", "a", "2", "a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "must be a stored listing of images, got: .*; delete it"), ("[1]", "got another file; choose another name")],
)
def test_a_file_that_is_no_listing_is_not_overwritten(tmp_path, content, message):
    root, index = make(tmp_path / "root", a=["1.png"]), tmp_path / "index.json"
    index.write_text(content)
    with pytest.raises(UserError, match=message):
        paths(root, index)
    assert index.read_text() == content


@pytest.mark.parametrize("content", ["[" * 100_000, '{"kind": NaN}', '{"kind": 1, "kind": 2}', "\udcff", "", "5"])
def test_other_files_are_one_line(tmp_path, content):
    """F6."""
    root, index = make(tmp_path / "root", a=["1.png"]), tmp_path / "index.json"
    index.write_bytes(os.fsencode(content))
    with pytest.raises(UserError, match="must be a stored listing of images"):
        paths(root, index)
    index.unlink()
    os.mkfifo(index)
    with pytest.raises(UserError, match="must be a regular file, got a pipe"):
        paths(root, index)


WRONG = [5, [], ["state"], ["state", ["1.png"]], ["state", [5], {}], ["state", ["../../x.png"], {}],
         ["state", "1.png", {}], ["state", ["2.png", "1.png"], {}], ["state", ["1.png", "1.png"], {}],
         [True, ["1.png"], {}], ["state", ["1.png"], {"x": [1, "y"]}],
         ["state", ["1.png"], {"other file": [True, "y"]}], ["state", ["1.png"], {}, None],
         ["state", ["1.png"], {}, []],
         ["state", ["1.png"], {}, [None, 0]], ["state", ["1.png"], {}, [[1], False]],
         ["state", ["1.png"], {}, [[-1], False]], ["state", ["1.png"], {}, [[0, 0], False]],
         ["state", ["1.png"], {}, [[True], False]], ["state", ["1.png"], {}, [5, False]]]  # fmt: skip


@pytest.mark.parametrize("folders", [5, [], "a", None])
@pytest.mark.parametrize("entry", WRONG)
def test_a_listing_of_wrong_types_is_made_anew(tmp_path, folders, entry):
    """F6."""
    root, index = make(tmp_path / "root", a=["1.png"]), tmp_path / "index.json"
    assert paths(root, index) == ["a/1.png"]
    right = json.loads(index.read_text())
    state = right["folders"]["a"][0]
    entry = [state if part == "state" else part for part in entry] if isinstance(entry, list) else entry
    index.write_text(json.dumps(right | {"folders": {"a": entry} if folders == 5 else folders}))
    assert paths(root, index) == ["a/1.png"]
    assert json.loads(index.read_text()) == right


def test_classes_may_come_from_another_part(tmp_path):
    root = make(tmp_path, train=[])
    make(root / "train", cat=["1.png"], dog=["1.png"], emu=["1.png"])
    make(root / "val", cat=["7.png"], emu=["8.png", "9.png"])
    data = open_data(str(root), size=4, split="val")
    assert data.classes == ("cat", "dog", "emu")
    assert data.labels.tolist() == [0, 2, 2]
    assert open_data(str(root), size=4, split="test").labels.tolist() == [0, 2, 2]
    make(root / "val", fox=["1.png"])
    with pytest.raises(UserError, match=r"val/fox must be one of the 3 classes that the training images have, got an"):
        open_data(str(root), size=4, split="val")


def test_a_fingerprint_changes_with_names_and_sizes(tmp_path):
    root = make(tmp_path / "root", a=["1.png"], b=["1.png", "2.png"])
    before = fingerprint(FolderData(root, size=4))
    assert fingerprint(FolderData(root, size=4)) == before
    assert fingerprint(FolderData(root, size=5)) != before
    (root / "b" / "2.png").write_bytes(b"more")
    sized = fingerprint(FolderData(root, size=4))
    (root / "b" / "2.png").rename(root / "b" / "3.png")
    assert len({before, sized, fingerprint(FolderData(root, size=4))}) == 3


def test_the_bar_can_be_turned_on(tmp_path, capsys):
    root = make(tmp_path / "root", a=["1.png"])
    paths(root)
    assert capsys.readouterr() == ("", "")
    paths(root, progress=True)
    assert "list images" in capsys.readouterr().err
