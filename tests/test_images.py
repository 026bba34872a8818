import numpy as np
import pytest
import torch
from annotations import unchecked
from PIL import Image

from var.errors import UserError
from var.images import check_images, format_images, from_uint8, image_grid, save_png, to_pil, to_uint8


def test_all_256_values_survive_the_round_trip():
    values = torch.arange(256, dtype=torch.uint8)
    images = from_uint8(values)
    assert images.dtype == torch.float32
    assert images[0] == -1
    assert images[255] == 1
    assert torch.equal(to_uint8(images), values)


def test_to_uint8_rounds_to_nearest_and_clamps():
    images = torch.tensor([-3.0, -1.0, 0.2 / 127.5 - 1, 0.6 / 127.5 - 1, 1.4 / 127.5 - 1, 1.0, 7.0, float("inf")])
    assert to_uint8(images).tolist() == [0, 0, 0, 1, 1, 255, 255, 255]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_to_uint8_takes_every_float_type(dtype):
    assert to_uint8(torch.tensor([-1, 0.5, 1], dtype=dtype)).tolist() == [0, 191, 255]


def test_the_roundings_differ_between_whole_levels():
    levels = torch.tensor([0.0, 0.4, 0.5, 0.6, 1.5, 2.5, 254.4, 254.6, 255.0])
    images = (levels.double() / 127.5 - 1).float()
    assert to_uint8(images, "truncate").tolist() == [0, 0, 0, 0, 1, 2, 254, 254, 255]
    assert to_uint8(images, "half-up")[[0, 1, 3, 6, 7, 8]].tolist() == [0, 0, 1, 254, 255, 255]
    assert to_uint8(torch.tensor([0.0, -1.0, 1.0, 7.0]), "half-up").tolist() == [128, 0, 255, 255]
    with pytest.raises(UserError, match="unknown rounding 'floor'"):
        to_uint8(images, "floor")


@pytest.mark.parametrize("rounding", ["nearest", "truncate"])
def test_images_of_0_to_1_lose_nothing_on_the_way_back(rounding):
    images = torch.cat(
        [torch.rand(100_000, generator=torch.Generator().manual_seed(0)) * 2 - 1, torch.linspace(-3, 3, 1000)]
    )
    again = format_images(images[None, None, None], "pt") * 2 - 1
    assert torch.equal(to_uint8(again, rounding).flatten(), to_uint8(images, rounding))


def test_roundings_are_those_of_the_official_samplers():
    images = torch.rand(100_000, generator=torch.Generator().manual_seed(1)) * 2 - 1
    var = images.add(1).mul(0.5).mul(255).numpy().astype(np.uint8)
    np.testing.assert_array_equal(to_uint8(images, "truncate").numpy(), var)
    dit = np.float32(127.5) * images.numpy() + np.float32(128)
    np.testing.assert_array_equal(to_uint8(images, "half-up").numpy(), np.clip(dit, 0, 255).astype(np.uint8))


def test_nan_has_no_colour():
    with pytest.raises(UserError, match="got NaN"):
        to_uint8(torch.tensor([0.0, float("nan")]))


def test_check_images_passes_good_ones():
    check_images(torch.zeros(2, 3, 4, 5), channels=3, size=(4, 5))
    check_images(torch.full((1, 7, 4, 4), 1.00005), channels=7)  # rounding is no mistake
    check_images(torch.zeros(0, 3, 4, 5), channels=3)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 4, 4, dtype=torch.uint8), r"photos must be float in \[-1, 1\], got torch.uint8; convert"),
        (torch.zeros(3, 4, 4), r"photos must be \(batch, channels, height, width\), got shape \(3, 4, 4\); add"),
        (torch.zeros(2, 4, 4, 3), r"photos must have 3 channel\(s\) as second axis, got 4 in shape \(2, 4, 4, 3\)"),
        (torch.zeros(2, 3, 4, 8), r"photos must be 4x4 \(height x width\), got 4x8; resize"),
        (torch.full((2, 3, 4, 4), 255.0), r"photos must lie in \[-1, 1\], got values from 255 to 255; scale"),
        (torch.full((2, 3, 4, 4), -1.01), r"photos must lie in \[-1, 1\], got values from -1.01"),
        (torch.full((2, 3, 4, 4), float("nan")), r"photos must be finite, got NaN"),
        (torch.tensor([0.0] * 47 + [float("inf")]).reshape(1, 3, 4, 4), r"photos must be finite, got NaN or inf"),
    ],
)
def test_check_images_names_rule_and_value(images, message):
    with pytest.raises(UserError, match=message) as caught:
        check_images(images, channels=3, size=(4, 4), name="photos")
    assert "\n" not in str(caught.value)


def test_to_pil_keeps_every_pixel():
    values = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).reshape(2, 3, 4, 5)
    colour = to_pil(from_uint8(values))
    assert [picture.mode for picture in colour] == ["RGB", "RGB"]
    assert np.array_equal(np.stack([np.array(picture) for picture in colour]), values.permute(0, 2, 3, 1))
    (grey,) = to_pil(from_uint8(values[:1, :1]))
    assert grey.mode == "L"
    assert np.array_equal(np.array(grey), values[0, 0])
    with pytest.raises(UserError, match="only 1 or 3 channels can be shown, got 2"):
        to_pil(torch.zeros(1, 2, 4, 4))


def test_image_grid_places_images_row_by_row():
    images = torch.tensor([-1.0, 0.0, 1.0]).reshape(3, 1, 1, 1).expand(3, 1, 2, 3)
    grid = np.array(image_grid(images, 2, padding=1, magnify=2, background=-0.5))
    assert grid.shape == (2 * (4 + 1) + 1, 2 * (6 + 1) + 1)
    background = 64
    expected = np.full_like(grid, background)
    expected[1:5, 1:7], expected[1:5, 8:14], expected[6:10, 1:7] = 0, 128, 255
    assert np.array_equal(grid, expected)


@pytest.mark.parametrize(("count", "columns"), [(0, 2), (2, 0)])
def test_an_empty_grid_is_refused(count, columns):
    with pytest.raises(UserError, match="at least 1 image and 1 column"):
        image_grid(torch.zeros(count, 1, 2, 2), columns)


def test_save_png_keeps_pixels_and_metadata(tmp_path):
    picture = to_pil(torch.linspace(-1, 1, 48).reshape(1, 3, 4, 4))[0]
    path = tmp_path / "new" / "picture.png"
    save_png(picture, path, metadata={"seed": "3", "prompt": "Größe 8"})
    save_png(picture, path, metadata={"seed": "3", "prompt": "Größe 8"})  # over itself
    with Image.open(path) as back:
        assert np.array_equal(np.array(back), np.array(picture))
        assert back.text == {"seed": "3", "prompt": "Größe 8"}
    assert [entry.name for entry in path.parent.iterdir()] == ["picture.png"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_save_png_leaves_the_old_file_when_it_fails(tmp_path):
    path = tmp_path / "picture.png"
    save_png(Image.new("L", (2, 2)), path)
    before = path.read_bytes()
    with pytest.raises(UserError, match="cannot write mode"):
        save_png(Image.new("HSV", (2, 2)), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["picture.png"]


@pytest.mark.parametrize("place", ["file/picture.png", "folder"])
def test_save_png_names_the_place_that_it_cannot_write(tmp_path, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=f"{place} must be .*; (choose another place|name another file)"):
        save_png(Image.new("L", (2, 2)), tmp_path / place)


def test_what_is_no_tensor_is_named():
    with unchecked(), pytest.raises(UserError, match="photos must be a tensor, got ndarray; convert"):
        check_images(np.zeros((1, 1, 2, 2), np.float32), channels=1, name="photos")
