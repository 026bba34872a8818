"""Section 2, "own files overwritten or mixed": images go only where nothing else is, or images that were made alike."""

import pytest
from drawn_squares import contents, draw, draw_squares, recipe
from PIL import Image

from var.errors import UserError
from var.sampling.drawing import Drawn, draw_image_set
from var.sampling.grid import save_grid
from var.sampling.seeds import parse_seeds
from var.sampling.work import WorkList

ALONE = r"must be a folder for these images alone, but holds "


def in_classes(root, *folders, seeds="0-1", settings=None, overwrite=False):
    work = WorkList(parse_seeds([seeds]), dict(zip(folders, range(3), strict=False)))
    made = recipe(**(settings or {}))
    return draw_image_set(work, draw, made, root, overwrite=overwrite, progress=False)


def refused(message, root, call, *given, **named):
    before = contents(root)
    with pytest.raises(UserError, match=message):
        call(root, *given, **named)
    assert contents(root) == before


def test_other_seeds_of_other_settings_are_refused(tmp_path):
    draw_squares(tmp_path, "0-3")
    refused(
        "png was drawn with guidance_scale = 1.5, and now 3.0 is asked",
        tmp_path,
        draw_squares,
        "4-7",
        settings={"guidance_scale": 3.0},
    )
    assert draw_squares(tmp_path, "2-7").new == 4
    draw_squares(tmp_path, "0-3", settings={"top_k": 9}, overwrite=True)  # as asked, one part after the other
    draw_squares(tmp_path, "4-7", settings={"top_k": 9}, overwrite=True)


def test_other_classes_of_other_settings_are_refused(tmp_path):
    in_classes(tmp_path, "0-cat", "1-dog")
    refused(
        "was drawn with top_k = None, and now 9",
        tmp_path,
        in_classes,
        "1-dog",
        "2-eel",
        settings={"top_k": 9},
        seeds="7-8",
    )
    refused("was drawn with top_k = None, and now 9", tmp_path, in_classes, "2-eel", "3-fox", settings={"top_k": 9})
    assert in_classes(tmp_path, "0-cat", "1-dog", "2-eel") == Drawn(6, 2)


def test_layouts_are_not_mixed(tmp_path):
    flat, classes = tmp_path / "flat", tmp_path / "classes"
    draw_squares(flat, "0-1")
    refused(rf"{ALONE}images without classes \([01].png\); choose", flat, in_classes, "0-cat", "1-dog")
    in_classes(classes, "0-cat", "1-dog")
    refused(rf"{ALONE}folders of images \([01]-\w+/[01].png\); choose", classes, draw_squares, overwrite=True)


@pytest.mark.parametrize("name", ["pipeline_index.json", "config.json", "run.yaml", "listing.json"])
def test_folders_of_models_and_runs_are_refused(tmp_path, name):
    (tmp_path / name).write_text("{}")
    refused(rf"{ALONE}a (model|run) \({name}\)", tmp_path, draw_squares)


def test_data_of_others_is_no_place_for_images(tmp_path):
    (tmp_path / "cats").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "cats" / "holiday.jpg")
    refused(rf"{ALONE}folders of images \(cats/holiday.jpg\)", tmp_path, draw_squares)


def test_what_is_no_image_may_lie_beside(tmp_path):
    for name in (".git", "@eaDir", "notes", "grids"):
        (tmp_path / name).mkdir()
    (tmp_path / "notes" / "plan.txt").write_text("")
    Image.new("L", (2, 2)).save(tmp_path / "@eaDir" / "thumb.png")
    draw_squares(tmp_path, "0-3")
    work = WorkList(parse_seeds(["0-3"]), {"": lambda seed: seed % 3})
    save_grid(work, recipe(), tmp_path, tmp_path / "grids" / "all.png")
    save_grid(work, recipe(), tmp_path, tmp_path / "grid.png")
    assert draw_squares(tmp_path, "0-7").new == 4
