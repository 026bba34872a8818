"""The page as a visitor uses it: a real server, a real browser, every tab once, and what goes wrong on the way."""

import io
import json
import os
import shutil
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from var import VARPipeline
from var.sampling.record import KEY

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
Client = pytest.importorskip("gradio_client", reason="gradio is not installed").Client
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here; apt-get install chromium")

WAIT = 120_000  # milliseconds that no machine needs, not even a busy one
NARROW, WIDE = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
NAMED = "(e => e.getAttribute('aria-label') || e.innerText || e.type)(document.activeElement)"
CORNER = "document.querySelector('canvas').getContext('2d').getImageData(0, 0, 1, 1).data.slice(0, 3).join()"
ROW = {"model": "var", "sampler": "next-scale", "steps": 4, "guidance_scale": 1.5, "headline": True}


class Site:
    """A server and a visitor's page of it."""

    def __init__(self, address, page, folder):
        self.address, self.page, self.folder = address, page, folder
        self.errors, self.outside = [], []
        self.watch(page)

    def watch(self, page):
        """Write down what goes wrong in a page, and what it asks others for."""
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        inside = (self.address, "data:", "blob:")
        page.on("request", lambda asked: None if asked.url.startswith(inside) else self.outside.append(asked.url))

    def open(self, tab):
        """Show a tab; in narrow windows some are behind a button."""
        wanted = self.page.get_by_role("tab", name=tab).locator("visible=true")
        if not wanted.count():
            self.page.locator(".overflow-menu > button").click()
            self.page.locator(".overflow-dropdown").get_by_text(tab).click()
        else:
            wanted.click()

    def shown(self, role, name):
        """The one control of a role and name that is to be seen."""
        return self.page.get_by_role(role, name=name, exact=True).locator("visible=true").first

    def click(self, name):
        self.shown("button", name).click()

    def draw(self):
        """Draw, and wait for the new pictures: the page is busy until then, and would refuse the next click."""
        first = self.page.locator(".pixels .thumbnail-item img").locator("visible=true").first
        before = first.get_attribute("src")
        self.click("Draw")
        sync_api.expect(first).not_to_have_attribute("src", before, timeout=WAIT)

    def message(self, text):
        """Wait for a message, and close it."""
        told = self.page.get_by_test_id("toast-body").filter(has_text=text)
        told.first.wait_for(timeout=WAIT)
        told.first.get_by_test_id("toast-close").click()

    def picture(self, name):
        """Keep a screenshot for whoever wants to look at them."""
        if self.folder is not None:
            self.page.screenshot(path=self.folder / f"{name}.png", full_page=True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("app")
    for name in ("home", "tmp"):
        (root / name).mkdir()
    (root / "report.json").write_text(json.dumps({"results": [ROW | {"seconds_per_1000_images": 2.0, "fd": 0.7}]}))
    return root


@pytest.fixture(scope="module")
def server(folders, forker):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    models = ["--model", "next-scale/digits", "--diffusion", "next-scale/digits", "--data", "digits"]
    options = [*models, "--report", folders / "report.json", "--port", port, "--no-browser"]
    environment = {"HOME": folders / "home", "TMPDIR": folders / "tmp"}
    log = folders / "log"
    process = forker.start("app_server.serve", log, folders / "connections", *options, environment=environment)
    until = time.monotonic() + 120
    while not log.exists() or "The page is at" not in log.read_text():
        assert forker.poll(process) is None, log.read_text()
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.1)
    return f"http://127.0.0.1:{port}", process


@pytest.fixture(scope="module")
def site(server):
    place = Path(os.environ["APP_SCREENSHOTS"]) if "APP_SCREENSHOTS" in os.environ else None
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport=WIDE)
        page.set_default_timeout(WAIT)
        site = Site(server[0], page, place)
        page.goto(server[0])
        page.locator(".scrubber").first.wait_for()
        yield site
        browser.close()


def png(image, **options):
    file = io.BytesIO()
    image.save(file, **{"format": "PNG", **options})
    return file.getvalue()


def test_generate_shows_scales_and_its_pictures_can_be_repeated(site):
    page = site.page
    slider = page.locator(".scrubber input").first
    assert page.locator(".reel output").first.inner_text() == "2x2"
    slider.fill("0")
    assert page.locator(".reel output").all_inner_texts()[:2] == ["1x1", "1x1"]
    pictures = page.locator(".pixels .thumbnail-item img").locator("visible=true")
    assert pictures.count() == 8
    with Image.open(io.BytesIO(page.request.get(pictures.nth(2).get_attribute("src")).body())) as picture:
        record, pixels = json.loads(picture.info[KEY]), np.array(picture)
    pipeline = VARPipeline.from_pretrained(record["model"])
    names = ("guidance_scale", "guidance_schedule", "temperature", "top_k", "top_p")
    again = pipeline(record["class_label"], seeds=[record["seed"]], **{name: record[name] for name in names})
    assert np.array_equal(np.array(again.images[0]), pixels)
    pictures.nth(2).click()
    page.wait_for_function("document.querySelector('.reel output').textContent == '2x2'")
    page.keyboard.press("Escape")
    site.picture("generate-wide")


def test_unknown_classes_and_seeds_are_told(site):
    box = site.shown("listbox", "Class") if site.page.get_by_role("listbox", name="Class").count() else None
    box = box or site.page.get_by_label("Class").locator("visible=true").first
    box.fill("tenn")
    box.press("Enter")
    site.click("Draw")
    site.message("class_labels must name known classes, got 'tenn'")
    box.fill("3")
    box.press("Enter")
    site.draw()
    assert site.page.get_by_text("3, seed").locator("visible=true").count() == 8


def test_redraw_gives_variations(site):
    site.open("Redraw")
    site.click("Redraw")
    site.page.locator(".pixels .thumbnail-item").locator("visible=true").nth(7).wait_for()
    site.picture("redraw-wide")


class TestEdit:
    def upload(self, site, path, content=None):
        if content is not None:
            path.write_bytes(content)
        with site.page.expect_file_chooser() as chooser:
            site.click("Upload a picture")
        chooser.value.set_files(path)

    def test_a_mask_is_painted_and_filled_by_both(self, site):
        site.open("Edit")
        site.click("Fill")
        site.message("a mask must be painted on a picture")
        site.click("Take from Generate")
        canvas = site.page.locator("canvas")
        site.page.wait_for_function("document.querySelector('canvas').width >= 512")
        shown = site.page.get_by_label("Class").locator("visible=true").first
        sync_api.expect(shown).not_to_have_value("random")  # it is that of the picture
        site.click("Fill")
        site.message("got an empty one; paint on the picture")
        canvas.focus()
        for key in (" ", "ArrowRight", " "):
            canvas.press(key)
        box = canvas.bounding_box()
        site.page.mouse.move(box["x"] + 20, box["y"] + 20)
        site.page.mouse.down()
        site.page.mouse.move(box["x"] + 90, box["y"] + 90, steps=3)
        site.page.mouse.up()
        site.shown("spinbutton", "number input for Diffusion: steps").fill("5")
        site.click("Fill")
        for name in ("VAR", "Diffusion"):
            site.page.get_by_text(f"{name}: 4 fillings in").wait_for()
        site.picture("edit-wide")

    def test_bad_pictures_are_told_and_odd_ones_taken(self, site, folders):
        site.open("Edit")
        self.upload(site, folders / "corrupt.png", png(Image.new("RGB", (40, 40), "red"))[:60])
        site.message("must be a whole png, jpg, jpeg, webp, bmp, gif image")
        self.upload(site, folders / "huge.png", png(Image.new("1", (9000, 9000))))
        site.message("must have at most 67108864 pixels, got 9000x9000")
        (folders / "long.png").write_bytes(b"\x89PNG" + bytes(21 * 2**20))
        self.upload(site, folders / "long.png")
        site.message("exceed the maximum allowed size of 20.0 Mb")
        frames = [Image.new("L", (20, 20), level) for level in (0, 255)]
        odd = {
            "animated.gif": (png(frames[0], format="GIF", save_all=True, append_images=frames[1:]), "0,0,0"),
            "cmyk.jpg": (png(Image.new("CMYK", (30, 50), (0, 0, 0, 0)), format="JPEG"), "255,255,255"),
        }
        for name, (content, colour) in odd.items():
            self.upload(site, folders / name, content)
            site.page.wait_for_function(f"{CORNER} == '{colour}'")
        site.page.get_by_role("radio", name="middle").check()
        site.page.wait_for_function(
            "document.querySelector('canvas').getContext('2d').getImageData(256, 256, 1, 1).data[1] < 200"
        )


def test_compare_shows_both_their_costs_and_the_nearest_images(site):
    site.open("Compare")
    site.shown("spinbutton", "number input for Diffusion: steps").fill("5")
    site.click("Compare")
    numbers = site.page.locator("table.numbers").locator("visible=true").first
    numbers.wait_for()
    text = numbers.inner_text()
    assert "Network evaluations per image\t12\t10" in text
    assert text.count("of unseen images lie nearer") + text.count("a copy?") == 8
    assert site.page.locator(".front .mark").count() == 1
    site.page.get_by_text("Diffusion, now").wait_for()
    site.picture("compare-wide")


def test_classify_tells_the_class_and_the_bits(site):
    site.open("Classify")
    site.click("Take from Generate")
    bars = site.page.locator("table.bars").locator("visible=true")
    bars.wait_for()
    assert bars.locator("tr").count() == 1 + 7 + 1
    site.picture("classify-wide")


@pytest.mark.parametrize("tab", ["Generate", "Redraw", "Edit", "Compare", "Classify"])
def test_narrow_windows_need_no_scrolling_sideways(site, tab):
    site.page.set_viewport_size(NARROW)
    site.open(tab)
    site.page.wait_for_timeout(150)
    assert site.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    site.picture(f"{tab.lower()}-narrow")


def test_the_keyboard_reaches_every_control_of_a_tab(site):
    site.page.set_viewport_size(WIDE)
    site.open("Generate")
    site.page.locator("body").click(position={"x": 2, "y": 2})
    reached = set()
    wanted = {"Draw", "Scale, from the coarsest to the finest", "Generate", "number input for Guidance"}
    for _ in range(80):
        site.page.keyboard.press("Tab")
        reached.add(site.page.evaluate(NAMED))
        if wanted <= reached:
            break
    assert wanted <= reached


def test_a_tab_that_is_closed_while_busy_leaves_the_server_at_work(site):
    """Whoever asks next need not be a browser, for which a page takes longer than a drawing."""
    button = site.shown("button", "Draw")
    button.evaluate("button => { button.click(); button.click() }")
    site.message("this page is still busy")
    button.click()
    site.page.close()
    other = Client(site.address, verbose=False, download_files=False, analytics_enabled=False)
    try:
        pictures, *_ = other.predict(shown="3", prompt="", api_name="/carry_out")
    finally:
        other.close()
    assert [picture["caption"].partition(", seed")[0] for picture in pictures["value"]] == ["3"] * 8


def test_nothing_was_wrong_and_nobody_else_was_asked(site, server, folders, forker):
    assert site.errors == []
    assert site.outside == []
    os.kill(server[1], signal.SIGTERM)
    assert forker.wait(server[1]) == 0
    assert not (folders / "connections").exists()
    assert [path for name in ("home", "tmp") for path in (folders / name).rglob("*")] == []
    assert "Traceback" not in (folders / "log").read_text()
