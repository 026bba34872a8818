"""What lies in a folder of images before a set is drawn there: leftovers go, what is not ours stays (issue 11)."""

import os
import signal

import pytest
from drawn_squares import contents, draw_squares, picture
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from var.errors import UserError
from var.sampling.drawing import Drawn, draw_image_set
from var.sampling.record import Recipe, read_record, record_text
from var.sampling.seeds import parse_seeds
from var.sampling.work import WorkList

DEAD = 999_999_999
"""A process number that no process has."""


def with_record(path, text):
    chunks = PngInfo()
    chunks.add_itxt("next-scale", text)
    picture(0, 3).save(path, pnginfo=chunks)


@pytest.mark.parametrize("text", ["[" * 100_000, "[1, 2]", "null", "{", '{"a": NaN}', '{"a": 1, "a": 1}', "\x00"])
def test_a_record_of_others_is_not_replaced_unasked(tmp_path, text):
    """F6: a PNG chunk of "[" x 100000."""
    with_record(tmp_path / "3.png", text)
    before = contents(tmp_path)
    with pytest.raises(UserError, match=r"3\.png does not say how it was drawn; choose another"):
        draw_squares(tmp_path)
    assert contents(tmp_path) == before
    draw_squares(tmp_path, overwrite=True)
    assert read_record(tmp_path / "3.png")["seed"] == 3


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_file_is_neither_waited_for_nor_replaced(tmp_path, kind, overwrite):
    """F10, F0."""
    path = tmp_path / "3.png"
    {"pipe": lambda: os.mkfifo(path), "folder": path.mkdir, "device": lambda: path.symlink_to("/dev/null")}[kind]()
    with pytest.raises(UserError, match=r"3\.png must be a regular file"):
        draw_squares(tmp_path, overwrite=overwrite)
    assert path.is_fifo() or path.is_dir() or path.readlink().as_posix() == "/dev/null"


def test_a_class_folder_that_is_a_file(tmp_path):
    (tmp_path / "0-cat").write_text("")
    work = WorkList(parse_seeds(["0-1"]), {"0-cat": 0, "1-dog": 1})
    with pytest.raises(UserError, match="0-cat must be writable"):
        draw_image_set(work, lambda *_: [], Recipe({}, ("cat", "dog")), tmp_path, progress=False)


def test_half_a_pair_in_a_name_of_others_is_recorded(tmp_path):
    with_record(tmp_path / "3.png", record_text({"class_name": "\udce9", "seed": 3}))
    assert read_record(tmp_path / "3.png") == {"class_name": "\udce9", "seed": 3}


def test_what_killed_processes_leave_goes_at_the_next_start(tmp_path, forker):
    """Temporary files stayed in `samples/` and in class folders, where nobody sees them."""
    work = WorkList(parse_seeds(["0-1"]), {"0-cat": 0, "1-dog": 1})
    root, classes, log = tmp_path / "set", tmp_path / "classes", tmp_path / "log"
    log.mkdir()
    (log / "other-0").touch()
    dying = forker.start("drawn_squares.draw_and_die", tmp_path / "output", root, log)
    assert forker.wait(dying) == -signal.SIGKILL, (tmp_path / "output").read_text()
    assert [name for name in contents(root) if name.endswith(".tmp")] == [f".3.png.{dying}.tmp"]
    left = (root / f".7.png.{DEAD}.tmp", classes / "0-cat" / f".1.png.{DEAD}-00000000-abcdef.tmp")
    mine = (root / f".8.png.{os.getpid()}.tmp", root / f".notes.{DEAD}.tmp", root / ".hidden.png")
    (classes / "0-cat").mkdir(parents=True)
    for path in (*left, *mine):
        path.write_bytes(b"half")

    def see(labels, seeds):
        # Before anything is drawn: what a dead process of this machine left is gone, the rest is not ours to judge.
        assert not left[0].exists()
        assert all(path.exists() for path in mine)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_squares(root, "0-9", see)
    draws = {"batch_size": 2, "progress": False}
    recipe = Recipe({"model": "squares"}, ("cat", "dog"))
    draw = lambda labels, seeds: [picture(*pair) for pair in zip(labels, seeds, strict=True)]  # noqa: E731
    assert draw_image_set(work, draw, recipe, classes, **draws) == Drawn(4, 4)
    assert not left[1].exists()
    assert draw_squares(root, "0-9").count == 10
    assert not mine[0].exists()  # nobody else draws here any more
    assert all(path.exists() for path in mine[1:])
    with Image.open(classes / "0-cat" / "1.png") as drawn:
        assert drawn.size == (2, 2)
