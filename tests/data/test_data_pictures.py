"""Pictures of every depth and form of transparency, made byte by byte, and files that are none."""

import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from small_pictures import picture, png

from var.data import BadImageError, FolderData, open_data
from var.data.pictures import read_picture
from var.errors import UserError


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def made(depth, colour, row, transparent=None, palette=None):
    """A PNG of one row of 4 pixels."""
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 1, depth, colour, 0, 0, 0))]
    parts += [chunk(b"PLTE", palette)] if palette else []
    parts += [chunk(b"tRNS", transparent)] if transparent is not None else []
    parts += [chunk(b"IDAT", zlib.compress(b"\0" + row)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def levels(content, channels=1):
    pixels = np.array(read_picture(content, "it", channels))
    return pixels.reshape(4, -1)[:, 0].tolist() if channels == 3 else pixels[0].tolist()


GREY = [
    (1, bytes([0b01010000]), [0, 255, 0, 255]),
    (2, bytes([0b00011011]), [0, 85, 170, 255]),
    (4, bytes([0x05, 0xAF]), [0, 85, 170, 255]),
    (8, bytes([0, 5, 10, 255]), [0, 5, 10, 255]),
    (16, struct.pack(">4H", 0, 0x1234, 0x1235, 65535), [0, 18, 18, 255]),
]


@pytest.mark.parametrize(("depth", "row", "expected"), GREY)
@pytest.mark.parametrize("place", range(4))
def test_a_transparent_grey_is_laid_on_white_at_every_depth(depth, row, expected, place):
    """The row "pictures": 16 bits as 8 bits; and 2 and 4 bits, which were wrong too."""
    stored = {1: [0, 1, 0, 1], 2: [0, 1, 2, 3], 4: [0, 5, 10, 15], 8: [0, 5, 10, 255], 16: [0, 0x1234, 0x1235, 65535]}
    level = stored[depth][place]
    white = [255 if each == level else value for each, value in zip(stored[depth], expected, strict=True)]
    assert levels(made(depth, 0, row)) == expected
    for channels in (1, 3):
        assert levels(made(depth, 0, row, struct.pack(">H", level)), channels) == white


def test_other_forms_of_transparency_are_laid_on_white():
    colours = [(10, 20, 30), (40, 50, 60), (10, 20, 31), (0, 0, 0)]
    for depth, kind in ((8, "B"), (16, "H")):
        factor = 1 if depth == 8 else 257
        values = [value * factor for colour in colours for value in colour]
        key = struct.pack(">3H", *(value * factor for value in colours[0]))
        content = made(depth, 2, struct.pack(f">12{kind}", *values), key)
        assert levels(content, 3) == [255, 40, 10, 0]
        alpha = [value * factor for colour in colours for value in (*colour, 0 if colour == colours[0] else 255)]
        assert levels(made(depth, 6, struct.pack(f">16{kind}", *alpha)), 3) == [255, 40, 10, 0]
        greys = [value * factor for value in (10, 0, 40, 255, 70, 255, 0, 255)]
        assert levels(made(depth, 4, struct.pack(f">8{kind}", *greys)), 3) == [255, 40, 70, 0]
    palette = bytes(value for colour in colours for value in colour)
    for depth, row in ((2, bytes([0b00011011])), (4, bytes([0x01, 0x23])), (8, bytes([0, 1, 2, 3]))):
        assert levels(made(depth, 3, row, b"\0", palette), 3) == [255, 40, 10, 0]
        assert levels(made(depth, 3, row, None, palette), 3) == [10, 40, 10, 0]


def test_transparency_of_a_wrong_length():
    with pytest.raises(BadImageError, match="cannot be decoded"):
        levels(made(8, 0, bytes([0, 5, 10, 255]), b"\0"))
    for alphas in (b"", b"\xff", b"\xff" * 256):
        assert levels(made(8, 3, bytes([0, 1, 2, 3]), alphas, bytes(range(12))), 3) == [0, 3, 6, 9]


def test_a_transparent_colour_of_16_bits_is_laid_on_white():
    """A sister of the row "pictures": Pillow compares the upper bytes with the lower ones of the colour."""
    row = struct.pack(">12H", *(0x0307, 0x1234, 0xABCD), *(0x0708, 0x3411, 0xCD22), *(0, 0, 0), *(0x1234,) * 3)
    content = made(16, 2, row, struct.pack(">3H", 0x0307, 0x1234, 0xABCD))
    picture = read_picture(content, "x", 3)
    assert [picture.getpixel((x, 0)) for x in range(4)] == [(255,) * 3, (7, 0x34, 0xCD), (0,) * 3, (0x12,) * 3]


@pytest.mark.parametrize("mode", ["F", "I", "I;16", "CMYK", "LAB"])
def test_formats_that_are_not_taken_are_named_whatever_the_suffix(tmp_path, mode):
    Image.new(mode, (4, 4)).save(tmp_path / "1.tif")
    (tmp_path / "1.tif").rename(tmp_path / "1.png")
    with pytest.raises(BadImageError, match=r"1\.png must be a whole png.*, got \d+ bytes .*cannot identify"):
        FolderData(tmp_path, size=4).load(0)


def test_what_is_the_images_fault_is_skipped_and_what_is_not_is_not(tmp_path):
    """F9 and F10."""
    for number in range(12):
        picture(tmp_path / "a" / f"{number:02d}.png", number)
    whole = png()
    for number, content in enumerate((b"", b"text", whole[:40], whole.replace(b"IHDR", b"IHDX"), b"PK\3\4" + whole)):
        (tmp_path / "a" / f"{number:02d}.png").write_bytes(content)
    (tmp_path / "a" / "05.png").unlink()
    (tmp_path / "a" / "05.png").symlink_to("nowhere")
    data = open_data(tmp_path, size=4, on_bad_image="skip")
    assert [data.load(index).shape for index in range(12)] == [(3, 4, 4)] * 12
    assert sorted(data.skipped) == list(range(6))
    (tmp_path / "a" / "06.png").unlink()
    os.mkfifo(tmp_path / "a" / "06.png")  # since it was listed
    for on_bad_image in (data, data.data):
        with pytest.raises(UserError, match=r"06\.png must be a regular file") as caught:
            on_bad_image.load(6)
        assert not isinstance(caught.value, BadImageError)
