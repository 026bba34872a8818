"""The page: its tabs, its colours and fonts, none of which come from elsewhere."""

from typing import Any

import gradio as gr

from var.app import classify, compare, edit, generate, redraw
from var.app.models import Models
from var.app.uploads import MOST_BYTES
from var.evaluation.report.drawing import style_variables
from var.evaluation.report.html import packaged_text
from var.evaluation.report.scrubbing import script, style

MOST_WAITING = 32
"""Clicks of all visitors that may wait at once."""
FORGOTTEN = 3600
"""Seconds after which the files of pictures are removed."""
SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif")
MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def page(models: Models) -> gr.Blocks:
    """The page of these models."""
    with gr.Blocks(title="next-scale", analytics_enabled=False, delete_cache=(FORGOTTEN // 4, FORGOTTEN)) as blocks:
        gr.Markdown(f"# next-scale\n{_subtitle(models)}")
        with gr.Tab("Generate"):
            made = generate.tab(models, blocks)
        with gr.Tab("Redraw"):
            redraw.tab(models, made)
        with gr.Tab("Edit"):
            edit.tab(models, made)
        with gr.Tab("Compare"):
            compare.tab(models, made)
        with gr.Tab("Classify"):
            classify.tab(models, made)
    return blocks.queue(max_size=MOST_WAITING, default_concurrency_limit=1)


def look() -> dict[str, Any]:
    """Keywords of `launch`: style, scripts and bounds."""
    return {
        "theme": gr.themes.Base(font=[*SANS], font_mono=[*MONO], primary_hue="blue", neutral_hue="slate"),
        "css": style_variables() + style() + packaged_text("var.app", "page.css"),
        "head": f"<script>{script()}</script>",
        "footer_links": [],
        "max_file_size": MOST_BYTES,
        "ssr_mode": False,
        "pwa": False,
        "mcp_server": False,
        "enable_monitoring": False,
        "share": False,
        "show_error": True,
        "quiet": True,
    }


def _subtitle(models: Models) -> str:
    shape = "x".join(map(str, models.var.image_shape[1:]))
    parts = [f"{name}: `{model.record['model']}`" for name, model in models.both.items()]
    return ", ".join([*parts, f"{shape} pixels"])
