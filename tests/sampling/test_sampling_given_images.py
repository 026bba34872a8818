"""Images and masks as calls take them: every form is read alike, and what is refused is told as it was given."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from var.errors import UserError
from var.foreign.converted_pictures import read_picture
from var.images import Signed, from_uint8
from var.sampling.editing import given_images, given_masks

SIZE = (4, 6)  # (height, width)


def levels(count=2, channels=3):
    """Uint8 NCHW, with black in every image."""
    found = torch.randint(256, (count, channels, *SIZE), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found[..., 0, 0] = 0
    return found


def read(images, channels=3, size=SIZE):
    return given_images(images, channels=channels, size=size)


def pictures(given):
    arrays = given.permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(each[..., 0] if each.shape[2] == 1 else each) for each in arrays]


def refused(call, *args, **keywords):
    with pytest.raises(UserError) as caught:
        call(*args, **keywords)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("channels", [1, 3])
def test_every_form_of_images_is_the_same_images(channels):
    given = levels(channels=channels)
    expected = given.double() / 127.5 - 1
    shares, signed = given / 255, from_uint8(given)
    last = [each.permute(0, 2, 3, 1).numpy() for each in (given, shares, signed)]
    lists = [list(each) for each in (*last, given, shares, signed)]
    for images in (given, shares, signed, *last, *lists, pictures(given)):
        torch.testing.assert_close(read(images, channels), expected, rtol=0, atol=1e-6)


def test_an_array_may_be_one_image():
    colours, grey = levels(1), levels(1, 1)
    for each in (colours.numpy(), (colours / 255).numpy()):
        torch.testing.assert_close(read(each[0].transpose(1, 2, 0)).float(), from_uint8(colours))
    torch.testing.assert_close(read(np.asarray(pictures(colours)[0]), size=None).float(), from_uint8(colours))
    pixels = np.asarray(pictures(grey)[0])
    for each in (pixels, pixels[..., None], [pixels], [pixels[..., None]]):
        torch.testing.assert_close(read(each, 1).float(), from_uint8(grey))


def test_images_known_to_lie_in_both_halves_are_not_guessed():
    bright = torch.rand(2, 1, *SIZE, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(read(bright, 1), 2 * bright.double() - 1)
    assert torch.equal(read(Signed(bright), 1), bright.double())
    assert torch.equal(read(Signed(torch.ones(1, 1, *SIZE)), 1), torch.ones(1, 1, *SIZE, dtype=torch.float64))
    assert "images must lie in [-1, 1], got values from 0 to 2;" in refused(read, Signed(2 * bright.round()), 1)


def in_modes():
    colours = pictures(levels(1))[0]
    clear = colours.convert("RGBA")
    clear.putpixel((1, 1), (10, 20, 30, 0))
    palette = colours.quantize(8)
    palette.info["transparency"] = 3
    deep = Image.fromarray(np.arange(24, dtype=np.uint16).reshape(SIZE) * 2800)
    return [colours, clear, palette, deep, *(colours.convert(mode) for mode in ("P", "L", "LA", "1", "CMYK"))]


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_are_converted_as_those_in_files(tmp_path, channels):
    for number, picture in enumerate(in_modes()):
        path = tmp_path / f"{number}.{'png' if picture.mode != 'CMYK' else 'tiff'}"
        if path.suffix == ".png":
            picture.save(path)
            expected = torch.from_numpy(np.array(read_picture(path, "it", channels)).reshape(1, *SIZE, channels))
            with Image.open(path) as opened:
                assert torch.equal(read(opened, channels), read(expected.numpy(), channels)), picture.mode
        assert read(picture, channels).shape == (1, channels, *SIZE)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pictures_of_no_known_range_are_refused(mode):
    for given, look in ((given_images, {"channels": 3, "size": SIZE}), (given_masks, {"size": SIZE})):
        assert f"whose levels have a known range, got mode {mode}; pass an array" in refused(
            given, pictures(levels(1))[0].convert(mode), **look
        )


def test_a_picture_stands_upright_as_one_in_a_file():
    content, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    pictures(levels(1).mT)[0].save(content, format="PNG", exif=exif)
    with Image.open(content) as opened:
        assert opened.size == SIZE
        upright = np.asarray(read_picture(content.getvalue(), "it", 3))
        assert torch.equal(read(opened), read(upright))


def test_masks_may_be_pictures_of_any_mode():
    expected = torch.zeros(1, 1, *SIZE, dtype=torch.bool)
    expected[..., 3:] = True
    mask = pictures(expected.byte() * 255)[0]
    for mode in ("L", "RGB", "RGBA", "P", "1", "LA", "I"):
        given = mask.convert(mode) if mode != "I" else Image.fromarray(np.asarray(mask).astype(np.uint16) * 257)
        assert torch.equal(given_masks(given, size=SIZE), expected), mode
        assert torch.equal(given_masks([given, given], size=SIZE), expected.expand(2, -1, -1, -1)), mode


ARRAYS = "images must be arrays (n, height, width, 3) or (height, width, 3), or tensors (n, 3, height, width), got an "


@pytest.mark.usefixtures("_untyped")
@pytest.mark.parametrize(
    ("images", "message"),
    [
        (levels(1).numpy(), ARRAYS + "array of shape (1, 3, 4, 6); move its axes"),
        (levels(1)[0].numpy(), ARRAYS + "array of shape (3, 4, 6); move its axes"),
        (levels(1)[0, 0].numpy(), ARRAYS + "array of shape (4, 6); move its axes"),
        (list(levels(2).numpy()), ARRAYS + "array of shape (3, 4, 6); move its axes"),
        (np.zeros((4, 6, 4), np.uint8), ARRAYS + "array of shape (4, 6, 4); move its axes"),
        (np.zeros((2, 6, 4, 3), np.uint8), "images must be 4x6 (height x width), got 6x4; resize or crop them"),
        (levels(1)[0] / 255, "images must be (batch, channels, height, width), got shape (3, 4, 6); add or move axes"),
        ([Image.new("L", (6, 4)), Image.new("L", (6, 5))], "images must be pictures of one size (height x width), got"),
        ([Image.new("L", (6, 4)), 3], "images must be pictures, an array or a tensor, got list; convert them"),
    ],
)
def test_images_are_refused_as_they_were_given(images, message):
    assert refused(read, images).startswith(message)


def test_pictures_are_refused_for_other_channels():
    message = refused(read, Image.new("RGB", (6, 4)), 4)
    assert message == "images of 4 channels cannot be pictures, got some; pass an array or a tensor"


def test_masks_that_are_not_binary_are_told_by_their_levels():
    soft = Image.new("L", (6, 4))
    soft.paste(255, (3, 0, 6, 4))
    soft.putpixel((2, 1), 127)
    message = refused(given_masks, soft, size=SIZE)
    assert message.startswith("masks must be binary, black (0) and white (255) where an image is redrawn, ")
    assert "got levels from 0 to 255, where 1 of 24 pixels are neither black nor white; choose a threshold" in message
    half = soft.point(lambda level: level // 2)
    assert "got levels from 0 to 127, where 13 of 24 pixels are neither" in refused(given_masks, half, size=SIZE)
    assert given_masks(half.point(lambda level: 255 * (level > 64)), size=SIZE).sum() == 12
    message = refused(given_masks, soft, size=(8, 8))
    assert message == "masks must be 8x8 pixels (height x width) as the model's images are, got 4x6; resize them"
    shares = torch.tensor([[0, 0.5, 1]])
    message = "got values from 0 to 1 and others between; compare them with a threshold"
    assert message in refused(given_masks, shares, size=(1, 3))
