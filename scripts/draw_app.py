"""Take the pictures of the page that docs/app.md shows: a real server, a real browser, the emoji that come along.

python scripts/draw_app.py outputs/emoji/report.json docs/images    # a minute on a CPU; needs chromium and ".[test]"
"""

import argparse
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from var.command_line.frame import CommandParser, file_path, guarded
from var.errors import UserError

WAIT = 300_000  # milliseconds that no machine needs
CHOSEN = 4  # of the images that are there from the start; the others take it from there
ANNOUNCED = "The page is at "


@contextmanager
def served(report: Path) -> Iterator[str]:
    """The address of a server that ends with the block."""
    command = [sys.executable, "-m", "var", "app", "--no-browser", "--port", "7869", "--report", str(report)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            said = next((line for line in server.stdout if ANNOUNCED in line), None)
            if said is None:
                raise UserError("the page must start, but `var app` ended; see what it says above")
            yield said.partition(ANNOUNCED)[2].split()[0]
        finally:
            server.send_signal(signal.SIGTERM)


def draw(report: Path, folder: Path) -> None:
    """Write a picture of each tab that the document shows into `folder`."""
    if find_spec("playwright") is None:
        raise UserError('the browser needs playwright, which is missing; pip install "next-scale[test]"')
    from playwright.sync_api import sync_playwright

    with served(report) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 860})
        page.set_default_timeout(WAIT)
        page.goto(address)
        for name, show in {"generate": generate, "edit": edit, "compare": compare, "classify": classify}.items():
            page.get_by_role("tab", name=name.capitalize()).locator("visible=true").click()
            show(page)
            page.screenshot(path=folder / f"app-{name}.png", full_page=True)
        browser.close()


def generate(page: Any) -> None:
    """An image in the making."""
    page.locator(".pixels .thumbnail-item").locator("visible=true").nth(CHOSEN).click()
    page.keyboard.press("Escape")
    page.locator(".scrubber input").first.fill("4")


def edit(page: Any) -> None:
    """A painted chin, filled anew."""
    press(page, "Take from Generate")
    page.wait_for_function("document.querySelector('canvas').width >= 512")
    box = page.locator("canvas").bounding_box()
    for down in (0.7, 0.78, 0.86):
        page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + down * box["height"])
        page.mouse.down()
        page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + down * box["height"], steps=9)
        page.mouse.up()
    ask_for_smileys(page)
    press(page, "Fill")
    page.get_by_text("Diffusion: 4 fillings in").wait_for()


def compare(page: Any) -> None:
    """Half way to an image, by both."""
    ask_for_smileys(page)
    press(page, "Compare")
    page.locator("table.numbers").locator("visible=true").first.wait_for()
    page.get_by_text("Diffusion, now").wait_for()
    slider = page.locator(".scrubber input").locator("visible=true").first
    slider.fill(str(int(slider.get_attribute("max")) // 2))


def classify(page: Any) -> None:
    """What a drawn image shows, and where it surprises."""
    press(page, "Take from Generate")
    page.locator("table.bars").locator("visible=true").wait_for()


def ask_for_smileys(page: Any) -> None:
    """Of seeds from 0 on."""
    for label, text in (("Class", "smileys"), ("Seed", "0")):
        box = page.get_by_label(label, exact=True).locator("visible=true").first
        box.fill(text)
        box.press("Enter")
    page.get_by_label("A new seed with each click").locator("visible=true").first.uncheck()


def press(page: Any, name: str) -> None:
    """Click the button of that name that is to be seen."""
    page.get_by_role("button", name=name, exact=True).locator("visible=true").first.click()


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw them; returns the exit code: 0, or 2 for a mistake of the user."""
    return guarded("draw_app.py", lambda: draw(**vars(_parser().parse_args(arguments))))


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="draw_app.py", description="Take the pictures of the page that docs/app.md shows.")
    parser.add_argument("report", type=file_path, metavar="JSON", help="report.json of scripts/compare.py, to plot")
    parser.add_argument("folder", type=file_path, metavar="FOLDER", help="where the pictures go: docs/images")
    return parser


if __name__ == "__main__":
    sys.exit(main())
