import os
import pickle
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from var.data import FolderData, ImageData
from var.errors import UserError
from var.images import from_uint8

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)


def save(path, pixels=COLOUR, mode=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def load(path, size=8, channels=3):
    """The one image in the folder of `path`, as uint8 (height, width, channels)."""
    image = FolderData(path.parent, size=size, channels=channels).load(0)
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    return ((image + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()


def test_classes_are_the_sorted_folders_and_paths_are_sorted_within(tmp_path):
    for name in ("b/2.png", "b/10.PNG", "a/x.jpg", "a/y.webp", "c/z.bmp", "c/z.gif", "c/z.jpeg"):
        save(tmp_path / name)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "a" / ".x.png").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_text("no image")
    (tmp_path / "readme.md").write_text("no image")
    data = FolderData(tmp_path, size=8)
    assert isinstance(data, ImageData)
    assert data.classes == ("a", "b", "c")
    assert [str(path.relative_to(tmp_path)) for path in data.paths] == [
        "a/x.jpg", "a/y.webp", "b/10.PNG", "b/2.png", "c/z.bmp", "c/z.gif", "c/z.jpeg",
    ]  # fmt: skip
    assert data.labels.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert len(data) == 7
    assert all(data.load(index).shape == data.shape == (3, 8, 8) for index in range(7))
    assert list(pickle.loads(pickle.dumps(data)).paths) == list(data.paths)


def test_a_flat_folder_is_one_class(tmp_path):
    save(tmp_path / "1.png")
    data = FolderData(str(tmp_path), size=(4, 6), channels=1)
    assert (data.classes, data.labels.tolist(), data.shape) == (("unlabelled",), [0], (1, 4, 6))


def test_an_image_of_the_right_size_is_kept_bit_for_bit(tmp_path):
    path = save(tmp_path / "1.png")
    expected = from_uint8(torch.from_numpy(COLOUR).permute(2, 0, 1))
    assert torch.equal(FolderData(tmp_path, size=8).load(0), expected)
    assert np.array_equal(load(path, channels=1)[..., 0], np.array(Image.fromarray(COLOUR).convert("L")))


@pytest.mark.parametrize("original", [(40, 24), (24, 40), (33, 33), (6, 9), (9, 31)])
@pytest.mark.parametrize("target", [(12, 12), (12, 20), (7, 5)])
def test_resize_equals_covering_then_cropping(tmp_path, original, target):
    pixels = RNG.integers(0, 256, (*original, 3), dtype=np.uint8)
    path = save(tmp_path / "1.png", pixels)
    scale = max(target[0] / original[0], target[1] / original[1])
    height, width = (max(t, round(o * scale)) for t, o in zip(target, original, strict=True))
    covered = np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
    top, left = (height - target[0]) // 2, (width - target[1]) // 2
    expected = covered[top : top + target[0], left : left + target[1]]
    assert np.array_equal(load(path, target), expected)


def test_a_square_comes_from_the_shorter_side_and_the_centre(tmp_path):
    pixels = np.zeros((16, 64, 3), np.uint8)
    pixels[:, 24:40] = 255  # the central square only
    assert (load(save(tmp_path / "1.png", pixels), 4)[:, 1:3] > 240).all()


def test_an_extreme_shape_does_not_become_huge(tmp_path):
    path = save(tmp_path / "1.png", np.full((1, 9000, 3), 77, np.uint8))
    assert (load(path, 8) == 77).all()
    with pytest.raises(UserError, match=f"{path} must not be so long that to cover 256x256 .* got 1x9000 .*; crop"):
        load(path, 256)


def test_a_phone_picture_of_several_frames_gives_the_first(tmp_path):
    grey = [Image.new("RGB", (8, 8), (value,) * 3) for value in (40, 200)]
    grey[0].save(tmp_path / "1.jpg", format="MPO", save_all=True, append_images=grey[1:])
    grey[0].save(tmp_path / "2.gif", save_all=True, append_images=grey[1:])
    assert (load(tmp_path / "1.jpg") == 40).all()
    (tmp_path / "1.jpg").unlink()
    assert (load(tmp_path / "2.gif") == 40).all()


# Modes


def test_palette_and_bilevel_pictures(tmp_path):
    picture = Image.fromarray(COLOUR).quantize(16)
    assert np.array_equal(load(save(tmp_path / "p" / "1.png", picture)), np.array(picture.convert("RGB")))
    bits = Image.fromarray(COLOUR).convert("1")
    assert np.array_equal(load(save(tmp_path / "1" / "1.png", bits), channels=1)[..., 0], np.array(bits) * 255)


def test_cmyk_pictures(tmp_path):
    ink = np.zeros((8, 8, 4), np.uint8)
    ink[..., 0] = 255  # cyan
    picture = Image.frombytes("CMYK", (8, 8), ink.tobytes())
    red, green, blue = load(save(tmp_path / "1.jpg", picture, quality=100))[4, 4]
    assert red < 10
    assert green > 245
    assert blue > 245


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_on_white(tmp_path, mode):
    pixels = np.full((8, 8, len(mode)), 100, np.uint8)
    pixels[:4, :, -1], pixels[4:, :, -1] = 0, 255
    loaded = load(save(tmp_path / "1.png", pixels))
    assert (loaded[:4] == 255).all()
    assert (loaded[4:] == 100).all()
    pixels[..., -1] = 51  # a fifth: 0.2 * 100 + 0.8 * 255
    assert (load(save(tmp_path / "1.png", pixels), channels=1) == 224).all()


def test_transparent_palette_colours_are_laid_on_white(tmp_path):
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.paste(1, (0, 4, 8, 8))
    loaded = load(save(tmp_path / "1.png", picture, transparency=0))
    assert (loaded[:4] == 255).all()
    assert (loaded[4:] == (200, 100, 50)).all()
    loaded = load(save(tmp_path / "1.png", picture, transparency=b"\x00\xff"))
    assert (loaded[:4] == 255).all()


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path):
    values = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
    loaded = load(save(tmp_path / "1.png", values), channels=1)[..., 0]
    assert np.array_equal(loaded, np.rint(values / 257).astype(np.uint8))


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_exif_rotation(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    quarter_turns = {1: 0, 3: 2, 6: 3, 8: 1}[orientation]
    assert np.array_equal(load(save(tmp_path / "1.png", COLOUR, exif=exif)), np.rot90(COLOUR, quarter_turns))


# What must be refused


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "no images in {root}; put one folder per class"),
        (lambda root: (root / "notes.txt").write_text(""), "no images in {root}; put"),
        (lambda root: (root / "empty").mkdir(), "no images in the class folder {root}/empty; put"),
        (lambda root: [save(root / "a/1.png"), (root / "b").mkdir()], "no images in the class folder {root}/b; put"),
        (lambda root: save(root / "a/deeper/1.png"), "no images in the class folder {root}/a; put"),
        (lambda root: [save(root / "a/1.png"), save(root / "2.png")], "got both .'a' and '2.png'.; move"),
        (lambda root: root.rmdir(), "{root} must be a readable folder, but: No such file or directory; check"),
        (lambda root: (root.rmdir(), save(root / "x.png"), os.rename(root / "x.png", f"{root}.x"), root.rmdir(),
                       os.rename(f"{root}.x", root)), "{root} must be a readable folder, but: Not a directory"),
        (lambda root: (root / "loop").symlink_to(root / "loop"), "{root}/loop must lead .* broken or a loop; repair"),
        (lambda root: (root / "a.png").symlink_to(root / "gone.png"), "{root}/a.png must lead .* broken or a loop"),
        (lambda root: (root / "again").symlink_to(root), "no images in the class folder {root}/again; put"),
        (lambda root: os.mkfifo(root / "pipe.png"), "{root}/pipe.png must be a regular file"),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_used(tmp_path, make, message):
    root = tmp_path / "root"
    root.mkdir()
    make(root)
    with pytest.raises(UserError, match=message.format(root=root)) as caught:
        FolderData(root, size=8)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("size", "channels", "message"),
    [(0, 3, "at least 1x1 pixels, got size 0x0"), ((8, -1), 3, "got size 8x-1"), (8, 4, r"channels, got 4; choose")],
)
def test_impossible_shapes(tmp_path, size, channels, message):
    with pytest.raises(UserError, match=message):
        FolderData(tmp_path, size=size, channels=channels)


def break_file(path, how):
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "cut": whole[: len(whole) * 2 // 3], "text": b"not an image at all"}[how])


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "gif"])
@pytest.mark.parametrize("how", ["empty", "cut", "text"])
def test_broken_files_are_named(tmp_path, suffix, how):
    path = save(tmp_path / f"1.{suffix}", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    break_file(path, how)
    data = FolderData(tmp_path, size=8)
    message = f"{path} must be a whole .* image, got {path.stat().st_size} bytes that cannot be decoded .*; replace"
    with pytest.raises(UserError, match=message) as caught:
        data.load(0)
    assert "\n" not in str(caught.value)


def test_flipped_bits_are_noticed(tmp_path):
    path = save(tmp_path / "1.png", RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(UserError, match="cannot be decoded"):
        FolderData(tmp_path, size=8).load(0)


def test_a_file_that_vanished_is_named(tmp_path):
    path = save(tmp_path / "1.png")
    data = FolderData(tmp_path, size=8)
    path.unlink()
    with pytest.raises(UserError, match=f"{path} must lead to a file, but there is none; restore"):
        data.load(0)


def declared(width, height):
    """A PNG of a few bytes that declares a picture of this size."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(8193, 8192), (12000, 12000), (60000, 60000)])
def test_a_decompression_bomb_is_refused_before_decoding(tmp_path, width, height):
    path = tmp_path / "bomb.png"
    path.write_bytes(declared(width, height))
    with pytest.raises(UserError, match=f"{path} must have at most 67108864 pixels, got .*; scale") as caught:
        FolderData(tmp_path, size=8).load(0)
    assert "\n" not in str(caught.value)


def test_only_image_formats_are_tried(tmp_path):
    # Pillow would hand an EPS file to Ghostscript, whatever its suffix.
    (tmp_path / "1.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n")
    with pytest.raises(UserError, match=r"cannot be decoded \(cannot identify image file"):
        FolderData(tmp_path, size=8).load(0)
