"""Faults F8, F9, F10 of pictures: one opener with one rule about pixels, whose every failure names the picture."""

import io
import os
import struct
import zlib

import pytest
from PIL import Image

from var.errors import UserError
from var.foreign import pictures
from var.foreign.pictures import BadImageError, opened_picture


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *chunks):
    """The bytes of a grey PNG that claims a size, whatever its data are."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


def encoded(form="PNG"):
    buffer = io.BytesIO()
    Image.new("L", (3, 2), 7).save(buffer, form)
    return buffer.getvalue()


def test_a_picture_in_a_file_and_in_memory(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded())
    for source in (tmp_path / "a.png", encoded(), encoded("GIF"), encoded("BMP")):
        with opened_picture(source, "it") as picture:
            assert (picture.size, picture.convert("L").getpixel((0, 0))) == ((3, 2), 7)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        encoded()[:40],
        png(3, 2),
        png(3, 2, chunk(b"IDAT", b"nothing")),
        png(3, 2, chunk(b"IDAT", zlib.compress(bytes(8))), chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2**22)))),
        png(0, 0, chunk(b"IDAT", zlib.compress(b""))),
        encoded("TIFF"),
        encoded("PPM"),
    ],
)
def test_what_is_no_whole_picture(content):
    rule = r"^it must be a whole .*; replace or remove it$"
    with pytest.raises(BadImageError, match=rule) as error, opened_picture(content, "it") as picture:
        picture.load()
    assert "\n" not in str(error.value)


def test_one_rule_about_pixels(monkeypatch):
    for size in ((13000, 13000), (2**31 - 1, 2**31 - 1)):
        with pytest.raises(BadImageError, match="must have at most 67108864 pixels, got"), opened_picture(png(*size)):
            pass
    monkeypatch.setattr(pictures, "MOST_PIXELS", 5)
    with pytest.raises(BadImageError, match="at most 5 pixels, got 3x2; scale"), opened_picture(encoded()):
        pass


def test_a_file_that_may_not_be_read_is_not_the_pictures_fault(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with (
        pytest.raises(UserError, match="must be a regular file, got a pipe") as error,
        opened_picture(tmp_path / "a.png"),
    ):
        pass
    assert not isinstance(error.value, BadImageError)
    with pytest.raises(BadImageError, match="must lead to a file"), opened_picture(tmp_path / "none.png"):
        pass


def test_the_blocks_own_refusal_passes():
    with pytest.raises(UserError, match=r"^mine$"), opened_picture(encoded()):
        raise UserError("mine")
