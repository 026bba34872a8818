"""Faults F6, F7, F15: JSON and YAML of others, bounded and strict."""

import pytest

from var.errors import UserError
from var.foreign.documents import EncodingError, lines_of_json, object_in_line, parse_json, read_json, read_yaml, taken


@pytest.mark.parametrize(
    ("content", "kind", "reason"),
    [
        ("[" * 100_000, dict, "brackets are too deep"),
        ("[" * 150 + "]" * 150, list, "more than 100 brackets lie inside each other"),
        ('{"a": 1, "b": {"c": 2, "c": 3}}', dict, "'c' is given twice"),
        ('{"a": NaN}', dict, "NaN is not a JSON number"),
        ('{"a": -Infinity}', dict, "-Infinity is not a JSON number"),
        ('{"a": 1e999}', dict, "1e999 is too large a number"),
        ('{"a": ' + "9" * 5000 + "}", dict, "digits"),
        ("[1, 2]", dict, "must hold an object, got a list"),
        ("5", list, "must hold a list, got a whole number"),
        ("null", dict, "must hold an object, got null"),
        ("", dict, "Expecting value"),
        ('{"a": 1}}', dict, "Extra data"),
    ],
)
def test_json_that_is_refused(content, kind, reason):
    with pytest.raises(UserError, match=r"^that .*; save it again$") as error:
        parse_json(content, "that", kind)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_json_that_is_taken(tmp_path):
    deep = "[" * 90 + "]" * 90
    content = b'\xef\xbb\xbf{"a": [1, 2.5, true, null, "\xc3\xa9"]}'
    assert parse_json(content, "that") == {"a": [1, 2.5, True, None, "é"]}
    assert str(parse_json(deep, "that", list)) == deep
    text = '["' + "[{" * 500 + '\\"[", []]'  # brackets in a text are none
    assert parse_json(text, "that", list)[1] == []
    (tmp_path / "file").write_text('{"a": 1}')
    assert read_json(tmp_path / "file") == {"a": 1}


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 20)
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("steps: 1\nrate: 2\nsteps: 3", "'steps' is given twice"),
        ("run: {a: 1, a: 1}", "'a' is given twice"),
        (BOMB, "stands for more than 100,000 values"),
        ("a: &a [*a]", "an anchor stands inside itself"),
        ("[" * 100_000, "it is too deep"),
        ("a: !!python/object:os.system x", "values are plain, got the tag"),
        ("a: !!timestamp x", "values are plain, got the tag"),
        ("a: !!int x", "invalid literal"),
        ("? [a]\n: b", "a name must be a text"),
        ("1: 2", "a name must be a text, got '1'"),
        ("on: {true: 2}", "a name must be a text, got 'true'"),
        ("- 1", "must hold names with values, got a list"),
        ("text", "must hold names with values, got a text"),
        ("a: 1\n---\nb: 2", "another document"),
        ("a: \0", "special characters are not allowed"),
        ("a: {b: ", "while parsing"),
    ],
)
def test_yaml_that_is_refused(tmp_path, text, reason):
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"settings.yaml must .*; correct it$") as error:
        read_yaml(path)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_yaml_words_mean_what_a_reader_sees(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text(
        "a: 1:30\nb: on\nc: 010\nd: 2001-01-01\ne: 1e-4\nf: -3\ng: [1, 2.5, .5, +1.5e3]\nh: null\ni: ~\nj:\nk: true\n"
        "l: &x [1, 2]\nm: *x\nn: '5'\no: .inf\np: 1_000\nq: 0x10\n"
    )
    assert read_yaml(path) == {
        "a": "1:30",
        "b": "on",
        "c": "010",
        "d": "2001-01-01",
        "e": 1e-4,
        "f": -3,
        "g": [1, 2.5, 0.5, 1500.0],
        "h": None,
        "i": None,
        "j": None,
        "k": True,
        "l": [1, 2],
        "m": [1, 2],
        "n": "5",
        "o": ".inf",
        "p": "1_000",
        "q": "0x10",
    }
    path.write_text("# nothing\n")
    assert read_yaml(path) == {}


def test_what_was_read_is_the_readers_own(tmp_path):
    path = tmp_path / "settings.yaml"
    path.write_text("a: {b: [1, 2]}\n")
    first = read_yaml(path)
    first["a"]["b"].append(3)
    assert read_yaml(path) == {"a": {"b": [1, 2]}}


def test_fields_have_the_type_that_is_asked_for():
    values = {"steps": 3, "share": 0.5, "flag": True, "name": None, "list": [1], "huge": 10**400}
    assert taken(values, "steps", int, "that") == 3
    assert type(taken(values, "steps", float, "that")) is float
    assert taken(values, "name", str | None, "that") is None
    for name, kind, message in (
        ("flag", int, "that: 'flag' must be a whole number, got True; save it again"),
        ("share", int, "that: 'share' must be a whole number, got 0.5"),
        ("list", dict, "that: 'list' must be an object, got"),
        ("name", str, "that: 'name' must be a text, got None"),
        ("huge", float, "that: 'huge' must be a finite number, got 1000"),
        ("absent", int, "that must have 'absent', but it is missing"),
    ):
        with pytest.raises(UserError, match=message):
            taken(values, name, kind, "that")


def test_json_in_another_encoding_is_to_be_saved_as_utf8():
    with pytest.raises(EncodingError, match=r"^that must be readable .* byte 0xe9 at 7, .*; save it as UTF-8$"):
        parse_json(b'{"a": "\xe9"}', "that")


def objects_in(path):
    for number, line in lines_of_json(path):
        yield number, object_in_line(line, path, number)


def test_json_lines(tmp_path):
    path = tmp_path / "some.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n\n  \n{"a": "x\xe2\x80\xa8y"}\n{"b": 2}')
    assert list(objects_in(path)) == [(1, {"a": 1}), (4, {"a": "x\u2028y"}), (5, {"b": 2})]
    path.write_bytes(b"")
    assert list(objects_in(path)) == []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "must be readable JSON, but: "),
        (b"5", "must hold an object, got a whole number; correct the line"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b'{"a": "\xe9"}', "must be readable JSON, but: .*0xe9"),
        (b'{"a": 1, "a": 2}', "'a' is given twice"),
        (b" " * (2**20 + 1), "must have at most 1,048,576 bytes, got more; shorten it"),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, line, message):
    path = tmp_path / "some.jsonl"
    path.write_bytes(b'{"a": 1}\n' + line + b"\n{}")
    lines = objects_in(path)
    assert next(lines) == (1, {"a": 1})
    with pytest.raises(UserError, match=rf"some.jsonl, line 2 .*{message}") as caught:
        next(lines)
    assert str(caught.value).isprintable()
    with pytest.raises(UserError, match="must be a regular file"):
        next(objects_in(tmp_path))
