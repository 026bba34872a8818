"""Faults F11, F17: names of others where they are shown."""

import html

import matplotlib
import pytest

from var.names import escaped, in_markdown, in_plot, received, shown


@pytest.mark.parametrize(
    ("name", "seen"),
    [
        ("plain name é 日 😀", "plain name é 日 😀"),
        ("\x1b[2J\n.png", r"\x1b[2J\n.png"),
        ("a\rb\tc\x07\x7f\x9b", r"a\rb\tc\x07\x7f\x9b"),
        ("\u202egnp.exe\u2066", r"\u202egnp.exe\u2066"),
        ("half \udcff", r"half \udcff"),
        ("\ufeffdog\u200b\u2028", r"\ufeffdog\u200b\u2028"),
        ("👩\u200d🚀", "👩\u200d🚀"),  # the joiner makes one picture of two
    ],
)
def test_what_is_not_seen_as_itself_is_written_as_its_code(name, seen):
    assert shown(name) == escaped(name) == seen
    shown(name).encode("utf-8")


def test_long_names_are_cut_and_it_is_said():
    assert len(shown("x" * 10**6)) < 600
    assert shown("x" * 1000).count("x") == 500
    assert "500 more" in shown("x" * 1000)
    assert len(escaped("x" * 1000)) == 1000


def test_some_may_be_kept():
    assert escaped("a\n\x1b[1m", keep="\n") == "a\n\\x1b[1m"


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", "a | b", "*bold* _it_ `code`", "[x](y)", "# t", "$x$", "&lt;"]
)
def test_markdown_shows_the_name_and_nothing_else(name):
    text = in_markdown(name)
    assert not any(sign in text.replace("\\" + sign, "") for sign in "*_`[]|$#~")
    assert "<" not in text
    assert html.unescape(text.replace("\\", "")) == name


@pytest.mark.parametrize("name", [r"$\frac{$", "$x$", "a $ b", "100 %", r"\alpha", "a_b^c", r"\$5"])
def test_plots_show_the_name_and_no_mathematics(name):
    matplotlib.use("agg")
    from matplotlib.cbook import is_math_text
    from matplotlib.figure import Figure

    assert not is_math_text(in_plot(name))
    figure = Figure()
    figure.text(0, 0, in_plot(name))
    figure.canvas.draw()  # raised ParseSyntaxException


def test_whatever_was_received_can_be_told():
    class Mute:
        def __repr__(self):
            raise OSError

    assert received([1, "a"]) == "[1, 'a']"
    assert received("a" * 200) == "'" + "a" * 99
    assert received(10**5000) == "a number of 16610 bits"
    assert received([10**5000]) == "a list"
    assert received(Mute()) == "a Mute"
