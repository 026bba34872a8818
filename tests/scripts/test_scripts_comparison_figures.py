import base64
import html.parser
import io
import json
import re
import sys
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest
import torch
from comparison.contenders import CONTENDERS
from comparison.report.edits import edits_figure
from comparison.report.figures import (
    class_grid,
    code_usage_chart,
    loss_curve,
    reconstruction_pairs,
    reconstruction_swipe,
    stage_strip,
)
from comparison.report.page import SECTIONS, Pictures, page
from comparison.report.processes import MOST_BYTES, Process, under_a_slider
from comparison.report.results import Report
from comparison.report.tradeoff import tradeoff_plot
from PIL import Image

from var.errors import UserError
from var.evaluation.report.drawing import LIGHT, PALETTE, image_table
from var.evaluation.report.html import bullets, element, figure, image, picture_size
from var.evaluation.report.score_report import ScoreReport
from var.evaluation.report.scrubbing import Reel, swipe
from var.files import write_text

SVG = "{http://www.w3.org/2000/svg}"


def row(model, fd, seconds, *, steps=4, guidance=1.5, **changes):
    shares = dict.fromkeys(("precision", "recall", "class_consistency"), 0.9)
    scores = {"kd": 0.004, "inception_score": 9.6, "sharpness": 0.97, "diversity": 9.9, "nearest_train_distance": 1.9}
    base = {"model": model, "sampler": "next-scale" if model == "var" else "ddim", "steps": steps}
    costs = {"parameters": 512_000, "train_seconds": 98.2, "samples": 1000, "seed": 0}
    place = {"guidance_scale": guidance, "fd": fd, "seconds_per_1000_images": seconds}
    return base | place | shares | scores | costs | changes


def report(results=None, **settings):
    usual = [
        row("var", 0.5, 0.4, headline=True),
        row("var", 0.7, 0.2, guidance=1.0),
        row("diffusion", 0.3, 10.0, steps=50, headline=True),
        row("diffusion", 0.4, 4.0, steps=20),
        row("diffusion", 2.5, 1.0, steps=5),
        row("diffusion", 0.28, 50.0, steps=250, sampler="ddpm"),
    ]
    return Report(
        results=usual if results is None else results,
        controls={"real_test": {"fd": 0.29}, "class_gaussian": {"fd": 0.96}, "token_marginals": {"fd": 2.3}},
        tokenizer={
            "psnr_test": 25.3,
            "psnr_train": 26.0,
            "reconstruction_fd": 0.08,
            "codes_used": 1.0,
            "sides": [1, 2, 4],
            "usage_by_scale": [0.4, 0.9, 1.0],
            "perplexity_by_scale": [20.1, 60.2, 90.3],
        },
        environment={"cpu": "a CPU & more", "threads": 1, "seconds": {"tokenizer": 40.5}},
        settings={"extractor": "digits", "data": "small <b>digits</b>"} | settings,
    )


SCORES_OVER_SEEDS = {
    model: ScoreReport(
        name=model,
        distance="FD-digits",
        sets=[{"path": str(number), "samples": 1000} for number in range(3)],
        scores={"fd": [0.4, 0.5, 0.6], "recall": [0.7, 0.7, 0.8]},
        extractor={"name": "digits", "digest": "0" * 64},
        reference={"path": "digits"},
        warnings=["n < 10000: few."],
    ).to_dict()
    for model in ("var", "diffusion")
}


def digits(n):
    return torch.linspace(-1, 1, n * 64).reshape(n, 1, 8, 8)


def embedded_image(svg):
    """The PNG within a labelled table of images."""
    data = re.search(r'href="data:image/png;base64,([^"]+)"', svg)
    assert data
    return Image.open(io.BytesIO(base64.b64decode(data[1])))


def labels(svg):
    return ["".join(text.itertext()) for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


class TestImages:
    def test_a_row_of_the_grid_is_a_class(self):
        images = torch.full((6, 1, 8, 8), -1.0)
        order = torch.tensor([1, 0, 1, 0, 1, 0])
        images[order == 1] = 1.0
        svg = class_grid(images, order, ["zero", "<one>"], columns=3)
        picture = embedded_image(svg)
        assert picture.size == (3 * 34 + 2, 2 * 34 + 2)
        assert [picture.getpixel((x, y)) for y in (18, 52) for x in (18, 86)] == [0, 0, 255, 255]
        assert labels(svg) == ["zero", "<one>"]

    def test_pixels_become_squares(self):
        picture = embedded_image(image_table(digits(1), 1, magnify=5))
        block = {picture.getpixel((x, y)) for x in range(2, 7) for y in range(2, 7)}
        assert block == {0}
        assert picture.getpixel((41, 41)) == 255

    def test_a_column_of_a_strip_is_a_stage(self):
        stages = [torch.full((2, 1, 8, 8), value) for value in (-1.0, 0.0, 1.0)]
        svg = stage_strip(stages, ["1x1", "2x2", "4x4"])
        picture = embedded_image(svg)
        assert [picture.getpixel((34 + 66 * place, 34)) for place in range(3)] == [0, 128, 255]
        assert picture.size == (3 * 66 + 2, 2 * 66 + 2)
        assert labels(svg) == ["1x1", "2x2", "4x4"]

    def test_originals_stand_above_reconstructions(self):
        picture = embedded_image(reconstruction_pairs(torch.ones(3, 3, 8, 8), -torch.ones(3, 3, 8, 8)))
        assert picture.mode == "RGB"
        assert picture.getpixel((9, 9)) == (255, 255, 255)
        assert picture.getpixel((9, 60)) == (0, 0, 0)

    def test_too_few_images_or_labels_are_refused(self):
        with pytest.raises(UserError, match="of class 'b', got 1"):
            class_grid(digits(4), torch.tensor([0, 0, 0, 1]), ["a", "b"], columns=2)
        with pytest.raises(UserError, match="got 1 for 2"):
            stage_strip([digits(1), digits(1)], ["1x1"])


class TestCharts:
    def test_every_kind_is_svg_with_text_and_colour_names(self):
        history = [{"step": float(step), "loss": 5 / step} for step in range(50, 1001, 50)]
        charts = {
            "training step": loss_curve(history, color="blue"),
            "perplexity, codes": code_usage_chart([1, (2, 3), 4], [0.4, 0.9, 1], [20.1, 60.2, 90.3]),
            "seconds per 1000 images (log)": tradeoff_plot(report()),
        }
        for text, svg in charts.items():
            assert text in labels(svg)
            assert "var(--blue)" in svg
            assert not re.search(r"(?:href|src|url)\W+https?:", svg)
            body = re.sub(r"<style>:root.*?</style>", "", svg)
            assert not any(color in body for color in LIGHT.values())  # else it would not follow dark mode
            assert min(picture_size(svg)) > 100
        assert "2x3" in labels(charts["perplexity, codes"])

    def test_labels_stay_large_beside_large_images(self):
        small, large = (torch.zeros(10, 3, side, side) for side in (8, 32))
        assert picture_size(image_table(large, 10)) == picture_size(image_table(small, 10))

    def test_scales_of_one_size_have_bars_of_their_own(self):
        assert labels(code_usage_chart([1, 2, 2], [0.4, 0.9, 1], [20.1, 60.2, 90.3])).count("2x2") == 2

    def test_every_mark_of_the_tradeoff_tells_its_numbers(self):
        found = labels(tradeoff_plot(report()))
        assert sum(text.endswith("s per 1000 images") for text in found) == len(report().results)
        assert {"FD-digits 0.500", "VAR g=1.5", "4 steps"} <= set(found)

    def test_no_global_state_and_the_same_bytes_again(self):
        import matplotlib

        before = dict(matplotlib.rcParams)
        assert tradeoff_plot(report()) == tradeoff_plot(report())
        assert dict(matplotlib.rcParams) == before

    def test_tradeoff_names_headlines_controls_and_the_ratio(self):
        found = labels(tradeoff_plot(report()))
        assert {"VAR g=1.5", "DDIM-50 g=1.5", "Real test images 0.29", "Gaussian per class 0.96"} <= set(found)
        assert any(text.endswith("x the time at equal distance") for text in found)
        assert "FD-digits (log), lower is better" in found

    def test_tradeoff_without_equal_distance_has_no_arrow(self):
        rows = [row("var", 0.2, 0.4, headline=True), row("diffusion", 0.3, 9.0, steps=50, headline=True)]
        assert not any("equal distance" in text for text in labels(tradeoff_plot(report(rows))))

    def test_tradeoff_copes_with_one_point_and_zero(self):
        rows = [row("var", 0.0, 0.4, headline=True), row("diffusion", 0.0, 0.4, steps=50, headline=True)]
        assert "FD-digits, lower is better" in labels(tradeoff_plot(report(rows)))

    def test_a_loss_that_was_never_logged_is_refused(self):
        with pytest.raises(UserError, match="'loss'"):
            loss_curve([{"step": 1.0, "lpips": 0.5}])

    def test_missing_matplotlib_names_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(UserError, match=r'pip install "next-scale\[compare\]"'):
            loss_curve([{"step": 1.0, "loss": 0.5}])

    def test_palette_has_enough_contrast(self):
        def luminance(color):
            channels = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
            linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
            return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

        for mode in (0, 1):
            paper = luminance(PALETTE["paper"][mode])
            for name in PALETTE.keys() - {"paper", "line"}:
                low, high = sorted((paper, luminance(PALETTE[name][mode])))
                assert (high + 0.05) / (low + 0.05) >= 4.5, (name, mode)  # WCAG AA for text


class Reader(html.parser.HTMLParser):
    """Collects what a page refers to, and checks that every element is closed in order."""

    VOID = ("meta", "img", "input", "link", "br")

    def __init__(self):
        super().__init__()
        self.open, self.found, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


def read(markup):
    reader = Reader()
    reader.feed(markup)
    reader.close()
    assert reader.open == []
    return reader


def pictures(grid):
    """The pictures of a page, all of them `grid`."""
    figures = [figure(grid, "What to look for.", alt="A picture of several images.")] * 2
    details = [CONTENDERS["var"].numbers(report()), *figures]
    samples = {"var": grid, "diffusion": grid}
    others = {"edits": edits_figure(digits(2), {"VAR": digits(2)}), "details": details}
    return Pictures(real=grid, samples=samples, processes=figures, tradeoff=grid, loss_curves={}, **others)


@pytest.fixture(scope="module")
def markup():
    grid = image_table(digits(4), 2)
    curve = loss_curve([{"step": 1.0, "loss": 0.5}])
    given = replace(report(), scores=SCORES_OVER_SEEDS)
    return page(given, replace(pictures(grid), tradeoff=tradeoff_plot(given), loss_curves={"A <stage>": curve}))


class TestPage:
    def test_is_well_formed_and_has_every_section(self, markup):
        reader = read(markup)
        assert markup.startswith("<!doctype html>")
        assert [attributes["id"] for attributes in reader.all("section")] == list(SECTIONS)
        assert {link["href"] for link in reader.all("a")} == {f"#{name}" for name in SECTIONS}
        assert reader.all("html") == [{"lang": "en"}]

    def test_seeds_are_left_out_where_there_is_one(self, markup):
        assert "Caution. n &lt; 10000:" in markup
        assert 'href="#spread"' in markup
        grid = image_table(digits(4), 2)
        assert 'href="#spread"' not in page(report(), pictures(grid))

    def test_what_is_of_the_first_of_several_training_seeds_is_said(self):
        markup = page(report(seeds=[0, 1]), pictures(image_table(digits(4), 2)))
        assert "2 training seeds (pictures, tokenizer and spread over generation seeds of seed 0)" in markup

    def test_refers_to_nothing_outside(self, markup):
        reader = read(markup)
        assert len(reader.all("img")) == 10  # and a plot that answers to the pointer
        for picture in reader.all("img"):
            assert picture["src"].startswith("data:image/")
            assert len(picture["alt"]) > 20
            data = base64.b64decode(picture["src"].split(",")[1]).decode()
            assert not re.search(r"(?:href|src|url)\W+https?:", data)
        assert [link["href"] for link in reader.all("link")] == ["data:,"]
        assert reader.all("script") == [{}]  # within the page
        assert not reader.all("iframe")
        assert "http" not in re.sub(r"data:[^\"]*", "", markup)
        assert "@import" not in markup

    def test_every_figure_has_a_caption(self, markup):
        reader = read(markup)
        assert len(reader.all("figcaption")) == len(reader.all("figure")) == 11
        assert len(reader.all("h1")) == 1

    def test_says_the_verdict_and_the_numbers(self, markup):
        text = " ".join(read(markup).text)
        assert "VAR wins on speed; diffusion wins on distance; they are level on" in text
        assert "does not beat" not in text
        for number in ("0.500", "0.300", "0.960", "512k", "25.3 dB", "40.5"):
            assert number in text
        assert "FD-digits" in text
        assert "FID" not in text

    def test_text_is_escaped(self, markup):
        assert "<b>" not in markup
        assert "small <b>digits</b>" in " ".join(read(markup).text)
        assert "Training loss of the stage: A &lt;stage&gt;." in markup

    def test_follows_dark_mode_and_paper(self, markup):
        assert "prefers-color-scheme:dark" in markup
        assert "@media print" in markup
        assert 'name="viewport"' in markup

    def test_is_saved_whole_or_not_at_all(self, tmp_path, markup):
        write_text(tmp_path / "report.html", markup)
        assert (tmp_path / "report.html").read_text(encoding="utf-8") == markup
        (tmp_path / "file").write_text("")
        with pytest.raises(UserError, match="must be writable"):
            write_text(tmp_path / "file" / "report.html", markup)


class TestSliders:
    def processes(self):
        stages = [torch.full((2, 1, 8, 8), level) for level in (-1.0, 0.0, 1.0)]
        told = {"caption": "What to look for.", "alt": "Samples at three stages.", "names": ["1x1", "2x2", "4x4"]}
        long = [torch.randn(2, 3, 96, 128).clamp(-1, 1) for _ in range(40)]
        return [
            Process(title="A", stages=stages, **told),
            Process(title="B", stages=long, **{**told, "names": [f"t={t}" for t in range(40)]}),
        ]

    def test_all_models_are_under_one_slider_and_last_stages_are_shown(self):
        reader = read("".join(under_a_slider(self.processes())))
        (slider,) = reader.all("input")
        reels = [attributes for attributes in reader.all("figure") if attributes["class"] == "reel"]
        assert [json.loads(reel["data-names"])[-1] for reel in reels] == ["4x4", "t=39"]
        assert slider["max"] == slider["value"] == str(max(len(json.loads(reel["data-names"])) for reel in reels) - 1)
        assert "4x4" in reader.text

    def test_pixels_under_the_slider_are_bounded(self):
        assert sum(map(len, under_a_slider(self.processes()))) < 1.5 * MOST_BYTES

    def test_a_swipe_lies_over_the_other_picture(self):
        reader = read(reconstruction_swipe(digits(9), digits(9)))
        films = [attributes for attributes in reader.all("div") if attributes.get("class") == "film"]
        assert [film["aria-label"] for film in films] == ["original", "decoded"]
        assert all("data:image/png" in film["style"] for film in films)

    def test_what_does_not_fit_is_refused(self):
        white = Image.new("RGB", (4, 4))
        with pytest.raises(UserError, match="got 1 of 1 sizes and 2 names"):
            Reel(title="A", stages=[white], names=["a", "b"])
        with pytest.raises(UserError, match="must be of one size"):
            swipe(white, Image.new("RGB", (4, 5)), titles=("a", "b"), label="c")


class TestBlocks:
    def test_escapes_text_and_attributes_once(self):
        inner = element("em", "a < b & c")
        assert element("p", inner, '"x"', title='"<&') == (
            '<p title="&quot;&lt;&amp;"><em>a &lt; b &amp; c</em>"x"</p>'
        )

    def test_bullets_set_the_subject_in_bold(self):
        assert bullets(["Speed: VAR: 3", "plain"]) == (
            '<ul class=""><li><strong>Speed:</strong> VAR: 3</li><li>plain</li></ul>'
        )

    def test_pictures_keep_their_size(self):
        (attributes,) = read(image('<svg width="20" height="10"></svg>', "a picture")).all("img")
        assert (attributes["width"], attributes["height"]) == ("20", "10")

    @pytest.mark.parametrize("bad", ["GIF89a", "<html>", "<svg>", ""])
    def test_other_things_are_no_pictures(self, bad):
        with pytest.raises(UserError, match="SVG text with width and height"):
            image(bad, "a picture")
