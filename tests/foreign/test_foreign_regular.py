"""Faults F10, F9 of files: only regular ones are opened, nobody waits for a pipe, no more is read than allowed."""

import os
import socket

import pytest
from annotations import unchecked

from var.errors import UserError
from var.foreign.regular import MissingError, open_regular, read_bytes, read_text


@pytest.fixture
def odd_places(tmp_path):
    """What is no regular file, by the word for it in the message."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "zero").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "socket"))  # an absolute path may be too long for a socket
        yield {"fifo": "a pipe", "folder": "a folder", "zero": "a device", "socket": "a socket"}


def test_what_is_no_regular_file_is_named(tmp_path, odd_places):
    for name, kind in odd_places.items():
        with pytest.raises(UserError, match=f"{name} must be a regular file, got {kind}; give a picture$"):
            open_regular(tmp_path / name, "a picture")


def test_what_is_missing_is_another_error(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(MissingError, match="none must be a file, but it is missing; check the path"):
        open_regular(tmp_path / "none")
    with pytest.raises(MissingError, match="link must be a file, but its link leads nowhere"):
        open_regular(tmp_path / "link")
    with pytest.raises(MissingError):
        read_text(tmp_path / "none" / "below")


@pytest.mark.parametrize("path", ["", "a\0b", 7, None, b"bytes"])
def test_what_is_no_path(path):
    with unchecked(), pytest.raises(UserError, match="a path must be a text"):
        open_regular(path)


def test_a_link_and_the_home_folder_are_followed(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes("~/link") == b"content"
    with open_regular("~/file") as file:
        assert file.read(3) + file.read() == b"content"


def test_text_is_utf_8_without_its_mark(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("\ufeffé\n".encode())
    assert read_text(path) == "é\n"
    for content, place in ((b"ab\xe9", 2), ("é".encode("utf-16"), 0)):
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"must be UTF-8, got byte 0x.. at {place}; save it as UTF-8"):
            read_text(path)


def test_no_more_is_read_than_allowed(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"x" * 11)
    assert len(read_bytes(path, most=11)) == 11
    with pytest.raises(UserError, match="must have at most 10 bytes, got more; is it a text file"):
        read_text(path, most=10)
    with open(path, "wb") as file:
        file.truncate(2**40)  # a sparse file takes no room
    with pytest.raises(UserError, match="must have at most 1,000 bytes"):
        read_bytes(path, most=1000)
