"""Sets of images on disk: what is skipped, redrawn and refused, and that interruptions leave no trace."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn_squares import contents, draw, draw_squares, draw_together, picture, recipe, work
from PIL import Image

from var.errors import UserError
from var.sampling.claims import Claims
from var.sampling.drawing import Drawn
from var.sampling.grid import check_grid, save_grid
from var.sampling.record import fingerprint, read_record

ROOT = Path(__file__).parents[2]


@pytest.fixture
def batches():
    """A pipeline that keeps the seeds of every batch that it draws, in `batches.seeds`."""

    def record(labels, seeds):
        record.seeds.append(seeds)
        return draw(labels, seeds)

    record.seeds = []
    return record


def test_every_seed_has_its_file_and_its_record(tmp_path):
    assert draw_squares(tmp_path / "a" / "b", "0-9") == Drawn(10, 10)
    assert sorted(contents(tmp_path / "a" / "b")) == sorted(f"{seed}.png" for seed in range(10))
    for seed in range(10):
        path = tmp_path / "a" / "b" / f"{seed}.png"
        np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(picture(seed % 3, seed)))
        record = read_record(path)
        assert set(record.pop("versions")) == {"next-scale", "torch", "pillow", "python"}
        own = {"class_label": seed % 3, "class_name": ("cat", "dog", "eel")[seed % 3], "seed": seed}
        assert record == {"model": "squares", "guidance_scale": 1.5, **own}


def test_batch_size_leaves_no_trace(tmp_path):
    draw_squares(tmp_path / "one", batch_size=1)
    draw_squares(tmp_path / "four", batch_size=4)
    assert contents(tmp_path / "one") == contents(tmp_path / "four")


def test_finished_images_are_kept(tmp_path, batches):
    draw_squares(tmp_path, "0-5")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert draw_squares(tmp_path, "0-5", batches) == Drawn(6, 0)
    assert batches.seeds == []
    assert draw_squares(tmp_path, "0-7", batches, batch_size=2) == Drawn(8, 2)
    assert batches.seeds == [[6, 7]]
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_batch_that_lacks_an_image_is_drawn_whole_and_only_that_image_written(tmp_path, batches):
    draw_squares(tmp_path, "0-9")
    whole = contents(tmp_path)
    (tmp_path / "5.png").unlink()
    kept = (tmp_path / "4.png").stat().st_mtime_ns
    assert draw_squares(tmp_path, "0-9", batches) == Drawn(10, 1)
    assert batches.seeds == [[4, 5, 6, 7]]
    assert contents(tmp_path) == whole
    assert (tmp_path / "4.png").stat().st_mtime_ns == kept


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "text"])
def test_damaged_files_are_drawn_again(tmp_path, damage):
    draw_squares(tmp_path)
    whole = contents(tmp_path)
    data = whole["3.png"]
    place = data.index(b"IDAT") + 6
    broken = {
        "cut": data[:-9],
        "empty": b"",
        "flipped": data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :],
        "text": b"hello",
    }
    (tmp_path / "3.png").write_bytes(broken[damage])
    assert draw_squares(tmp_path) == Drawn(10, 1)
    assert contents(tmp_path) == whole


def test_other_settings_are_refused_before_anything_is_drawn(tmp_path, batches):
    draw_squares(tmp_path, "8-9")
    with pytest.raises(UserError, match=r"[89]\.png was drawn with guidance_scale = 1.5, and now 3.0 .*--overwrite"):
        draw_squares(tmp_path, "0-9", batches, settings={"guidance_scale": 3.0})
    with pytest.raises(UserError, match="drawn with top_k = None, and now 9"):
        draw_squares(tmp_path, "0-9", batches, settings={"top_k": 9})
    assert batches.seeds == []
    # Where the model lies does not matter.
    assert draw_squares(tmp_path, "8-9", settings={"model": "elsewhere/squares"}) == Drawn(2, 0)


def test_overwriting_draws_what_differs(tmp_path, batches):
    draw_squares(tmp_path, "0-3")
    draw_squares(tmp_path, "4-7", settings={"top_k": 9}, overwrite=True)
    assert draw_squares(tmp_path, "0-7", batches, settings={"top_k": 9}, overwrite=True) == Drawn(8, 4)
    assert batches.seeds == [[0, 1, 2, 3]]
    assert read_record(tmp_path / "2.png")["top_k"] == 9


def test_other_peoples_pictures_are_not_replaced_unasked(tmp_path):
    picture(0, 3).save(tmp_path / "3.png")
    with pytest.raises(UserError, match=r"3\.png does not say how it was drawn; choose another"):
        draw_squares(tmp_path)
    draw_squares(tmp_path, overwrite=True)
    assert read_record(tmp_path / "3.png")["seed"] == 3


def test_an_interruption_loses_one_batch(tmp_path):
    def interrupt(labels, seeds):
        if 8 in seeds:
            raise KeyboardInterrupt
        return draw(labels, seeds)

    with pytest.raises(KeyboardInterrupt):
        draw_squares(tmp_path, "0-11", interrupt)
    assert sorted(contents(tmp_path)) == sorted(f"{seed}.png" for seed in range(8))


def test_a_billion_seeds_start_at_once(tmp_path):
    def stop(labels, seeds):
        assert seeds == [0, 1, 2, 3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_squares(tmp_path, "0-999999999", stop)


def test_too_little_memory_is_told(tmp_path):
    def fail(labels, seeds):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(UserError, match="a batch of 4 images is too large for the memory here; lower --batch-size"):
        draw_squares(tmp_path, draw=fail)


def test_the_folder_must_be_writable(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="must be writable"):
        draw_squares(tmp_path / "file")


def test_ranks_begin_with_their_own_share(tmp_path, batches, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    draw_squares(tmp_path, "0-17", batches)
    assert [seeds[0] for seeds in batches.seeds] == [4, 12, 0, 8, 16]


def test_progress_bar_can_be_turned_off(tmp_path, capsys):
    draw_squares(tmp_path, "0-3")
    assert capsys.readouterr().err == ""
    draw_squares(tmp_path, "0-7", progress=True)
    assert "8/8" in capsys.readouterr().err


def test_two_processes_of_which_one_is_killed_leave_what_one_leaves(forker, tmp_path):
    draw_squares(tmp_path / "alone", "0-19")
    root, log = tmp_path / "set", tmp_path / "log"
    log.mkdir()
    dying = forker.start("drawn_squares.draw_and_die", tmp_path / "output", root, log)
    survivor = draw_squares(root, "0-19", draw_together(log, "survivor"))
    assert forker.wait(dying) == -signal.SIGKILL, (tmp_path / "output").read_text()
    # The dead one wrote three images of its batch; the survivor drew that batch again, and all others once.
    assert survivor == Drawn(20, 17)
    begun = [tuple(name.split("-")) for name in os.listdir(log)]
    assert sorted(int(start) for who, start in begun if who == "survivor") == [0, 4, 8, 12, 16]
    assert [who for who, _ in begun].count("dying") == 1
    assert contents(root) == contents(tmp_path / "alone")


def test_claims_of_one_process_keep_others_out(forker, tmp_path):
    # Byte-range locks belong to processes, so the other one is real.
    with Claims(tmp_path) as claims, claims.hold(4, 4, wait=False) as mine:
        assert mine
        assert forker.run("drawn_squares.try_to_claim", tmp_path.with_name("output"), tmp_path) == "10010\n"
        assert (tmp_path / ".lock").exists()
    assert not (tmp_path / ".lock").exists()


def test_without_locks_everything_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr("var.sampling.claims.fcntl", None)
    assert draw_squares(tmp_path, "0-9") == Drawn(10, 10)


def test_grid_is_made_of_the_files(tmp_path):
    draw_squares(tmp_path, "0-4")
    save_grid(work("0-4"), recipe(), tmp_path, tmp_path / "grid.png")
    grid = np.asarray(Image.open(tmp_path / "grid.png"))
    assert grid.shape == (7, 10)  # 2 rows and 3 columns of 2x2, between lines of 1
    for seed in range(5):
        top, left = 1 + seed // 3 * 3, 1 + seed % 3 * 3
        np.testing.assert_array_equal(grid[top : top + 2, left : left + 2], np.asarray(picture(seed % 3, seed)))
    assert (grid[4:6, 7:9] == 255).all()
    record = read_record(tmp_path / "grid.png")
    assert record["guidance_scale"] == 1.5
    assert record["images"][4] == {"class_label": 1, "seed": 4}


def test_impossible_grids_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"got '.*x\.jpg'; name it for example x\.png"):
        check_grid(5, tmp_path / "x.jpg")
    with pytest.raises(UserError, match="up to 1024 images, got 1025"):
        check_grid(1025, tmp_path / "x.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UserError, match="is a folder"):
        check_grid(5, tmp_path / "folder.png")


def test_a_fingerprint_tells_models_apart():
    first, second = torch.nn.Linear(100, 100), torch.nn.Linear(100, 100)
    assert fingerprint(first) == fingerprint(first) != fingerprint(second)
    assert fingerprint(first, second) != fingerprint(second, first)
    assert fingerprint(first, settings={"steps": 3}) != fingerprint(first)
    assert fingerprint(first.to(torch.bfloat16)) != fingerprint(torch.nn.Linear(100, 100).to(torch.bfloat16))
    assert len(fingerprint(first)) == 16
