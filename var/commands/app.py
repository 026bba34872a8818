"""`var app`: a web page to generate, redraw, edit, compare and classify images."""

import argparse
from collections.abc import Callable
from importlib.metadata import entry_points
from importlib.util import find_spec

from var.command_line.frame import file_path, one_of, whole_number
from var.command_line.sampling_options import DTYPES
from var.errors import UserError
from var.sampling.command import LoadedModel

HELP = "show a web page to generate, edit and compare images"

LOADERS = "next_scale.models"
"""Group of entry points: functions that load the models of other packages, by the option that names the model."""

USUAL = "next-scale/emoji"
"""The models that are shown if none is named, of both paradigms."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    model = f"folder or id of a VAR pipeline (default {USUAL}, beside a diffusion pipeline of that name)"
    parser.add_argument("--model", metavar="PATH-OR-ID", help=model)
    parser.add_argument("--diffusion", metavar="PATH-OR-ID", help="the same of a diffusion pipeline, to compare with")
    parser.add_argument("--variant", help="which of several models to take, for example d16 of FoundationVision/var")
    parser.add_argument("--data", help="what both were trained on, to look for copies: emoji, digits, a folder")
    parser.add_argument("--report", type=file_path, metavar="JSON", help="report.json of scripts/compare.py, to plot")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default %(default)s: this machine)")
    parser.add_argument(
        "--port", type=whole_number(least=1, most=65535), default=7860, help="port (default %(default)s)"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open a browser")
    parser.add_argument("--dtype", type=one_of(*DTYPES), help="fp32, bf16 or fp16 (default: as saved)")
    parser.add_argument("--device", help="for example cpu, cuda or cuda:1 (default: cuda where there is one)")


def run(arguments: argparse.Namespace) -> None:
    """Load the models and show the page."""
    # Told before the models are loaded; it is imported by the server, which says first where its files shall lie.
    if find_spec("gradio") is None:
        raise UserError('the page needs gradio, which is missing; pip install "next-scale[app]"')
    from var.app.front import settings_in
    from var.app.models import Models
    from var.app.server import serve
    from var.commands import model

    if arguments.report is not None:
        settings_in(arguments.report)
    alone = arguments.model is None and arguments.diffusion is None
    first = model.load(_named(arguments, arguments.model or USUAL))
    second = arguments.diffusion or (USUAL if alone else None)
    other = None if second is None else _loader("diffusion")(_named(arguments, second))
    data = arguments.data or (USUAL.partition("/")[2] if alone else "")
    models = Models(var=first, diffusion=other, data=data, report=arguments.report)
    serve(models, host=arguments.host, port=arguments.port, browser=not arguments.no_browser)


def _named(arguments: argparse.Namespace, name: str) -> argparse.Namespace:
    """The options of loading one model."""
    return argparse.Namespace(**{**vars(arguments), "model": name, "revision": None, "compile": False})


def _loader(name: str) -> Callable[[argparse.Namespace], LoadedModel]:
    """The function that loads the models of another package here; raises `UserError` if it is not installed."""
    found = list(entry_points(group=LOADERS, name=name))
    if not found:
        raise UserError(
            f"the option --{name} needs a package that loads such models, got none; install next-scale again"
        )
    return found[0].load()
