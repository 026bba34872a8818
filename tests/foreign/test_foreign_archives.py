"""Faults F8, F9 of npz archives: shape and type before data, nothing larger than it is, every exception one line."""

import io
import zipfile

import numpy as np
import pytest

from var.errors import UserError
from var.foreign import archives
from var.foreign.archives import npz_array, npz_header, npz_rows, write_npz, write_npz_rows

ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "text": np.array("words"), "none": np.empty((0, 3)), "one": np.array(3)}


def npy(array=None, *, shape=None, kind="<f8", data=b""):
    """The bytes of an npy, of an array or with a header that claims something."""
    file = io.BytesIO()
    if array is not None:
        np.lib.format.write_array(file, array)
    else:
        np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
        file.write(data)
    return file.getvalue()


def pack(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, ARRAYS)
    first = path.read_bytes()
    for name, array in ARRAYS.items():
        found = npz_array(path, name)
        assert (found.shape, found.dtype) == (array.shape, array.dtype) == npz_header(path, name)
        assert np.array_equal(found, array)
    assert npz_header(path, "absent") is None
    assert [part.tolist() for part in npz_rows(path, "a", 1)] == [[[0, 1, 2]], [[3, 4, 5]]]
    assert list(npz_rows(path, "none", 4)) == []
    write_npz(path, ARRAYS)
    assert path.read_bytes() == first  # of no time
    assert str(np.load(path)["text"]) == "words"


def test_rows_are_written_without_having_them_all(tmp_path):
    rows = np.arange(24, dtype=np.uint8).reshape(6, 2, 2, 1)
    write_npz_rows(tmp_path / "a.npz", {"arr_0": (rows.shape, iter(np.split(rows, 3)))}, {"arr_1": np.arange(6)})
    assert np.array_equal(npz_array(tmp_path / "a.npz", "arr_0"), rows)


def test_what_numpy_writes_is_read(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", a=ARRAYS["a"], f=np.asfortranarray(ARRAYS["a"]))
    assert np.array_equal(npz_array(tmp_path / "a.npz", "a"), ARRAYS["a"])
    assert np.array_equal(npz_array(tmp_path / "a.npz", "f"), ARRAYS["a"])
    with pytest.raises(UserError, match="f must be an array of rows in C order"):
        next(npz_rows(tmp_path / "a.npz", "f", 1))


def test_the_check_sees_the_shape_before_anything_is_read(tmp_path):
    path = pack(tmp_path / "a.npz", [("a.npy", npy(shape=(10**8, 16)))])

    def check(header):
        raise UserError(f"saw {header[0]}")

    for read in (lambda: npz_array(path, "a"), lambda: npz_header(path, "a"), lambda: next(npz_rows(path, "a", 1))):
        with pytest.raises(UserError, match=r"must have the 12,800,000,000 bytes of float64 \(100000000, 16\), got 0"):
            read()
    write_npz(path, ARRAYS)
    with pytest.raises(UserError, match=r"^saw \(2, 3\)$"):
        npz_array(path, "a", check)


def test_what_is_too_large_is_not_read(tmp_path, monkeypatch):
    write_npz(tmp_path / "a.npz", ARRAYS)
    monkeypatch.setattr(archives, "MOST_BYTES", 47)
    with pytest.raises(UserError, match="a must have at most 47 bytes, got 48"):
        npz_array(tmp_path / "a.npz", "a")


@pytest.mark.parametrize(
    "members",
    [
        [("a.npy", b"nothing")],
        [("a.npy", b"")],
        [("a.npy", npy(np.array([object()], dtype=object)))],
        [("a.npy", npy(np.zeros(2, dtype=[("x", "f4")])))],
        [("a.npy", npy(shape=(3,), data=bytes(16)))],
        [("a.npy", npy(shape=(3,), data=bytes(32)))],
        [("a.npy", npy(shape=(-1, -3), data=bytes(24)))],
        [("a.npy", npy(np.zeros(2)).replace(b"(2,)", b"(2,["))],
        [("a.npy", npy(np.zeros(2)).replace(b"(2,)", b"1e9 "))],
    ],
)
def test_members_that_are_no_plain_arrays(tmp_path, members):
    path = pack(tmp_path / "a.npz", members)
    with pytest.raises(UserError, match=r"a.npz must be a readable npz archive, but: .*; make it again$") as error:
        npz_array(path, "a")
    assert "\n" not in str(error.value)


def test_archives_that_cannot_be_read(tmp_path):
    path = tmp_path / "a.npz"
    good = pack(path, [("a.npy", npy(np.zeros(200)))], zipfile.ZIP_DEFLATED).read_bytes()
    encrypted = bytearray(good)
    encrypted[6] |= 1
    encrypted[good.index(b"PK\1\2") + 8] |= 1
    unknown = bytearray(good)
    unknown[8], unknown[good.index(b"PK\1\2") + 10] = 99, 99
    broken = bytearray(good)
    broken[60] ^= 0xFF
    for content in (b"", b"words", good[:-30], bytes(encrypted), bytes(unknown), bytes(broken)):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"a\.npz must be a readable npz archive, but: "):
            npz_array(path, "a")
    with pytest.warns(UserWarning, match="Duplicate name"):
        pack(path, [("a.npy", npy(np.zeros(2)))] * 2)
    with pytest.raises(UserError, match="two members of one name"):
        npz_array(path, "a")
    for place in ("/dev/zero", tmp_path):
        with pytest.raises(UserError, match="must be a regular file, got"):
            npz_header(place, "a")
