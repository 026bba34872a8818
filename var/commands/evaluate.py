"""`var evaluate`: the scores of samples against reference statistics."""

import argparse
import importlib.util

from var.command_line.frame import file_path, number
from var.commands import extractor
from var.errors import UserError
from var.foreign.regular import open_regular
from var.outputs import check_outputs

HELP = "judge samples against reference statistics"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "samples",
        nargs="+",
        type=file_path,
        metavar="SAMPLES",
        help="folder or npz file of images; several are independent sets of one model, whose spread is told",
    )
    parser.add_argument(
        "--reference", type=file_path, required=True, metavar="NPZ", help="statistics of the real images"
    )
    extractor.add_arguments(parser)
    parser.add_argument("--protocol", metavar="NAME", help="the protocol that the samples must follow")
    parser.add_argument(
        "--real-test", type=file_path, metavar="FOLDER", help="further real images: the floor of the scores"
    )
    parser.add_argument("--train", type=file_path, metavar="FOLDER", help="training images, to look for copies of them")
    parser.add_argument(
        "--keep-share", type=number, metavar="SHARE", help="also judge the most confident share of each class, apart"
    )
    extractor.add_classifier_arguments(parser)
    parser.add_argument(
        "--captions",
        metavar="DATA",
        help="captioned images, as for `var train`: small networks learn from them to tell whether samples show their "
        "prompts",
    )
    parser.add_argument("--name", help="what the report calls the model")
    parser.add_argument(
        "--output", type=file_path, metavar="DIR", help="write the report here as JSON, Markdown and HTML"
    )
    parser.add_argument("--json", type=file_path, metavar="FILE", help="write the report as JSON")
    parser.add_argument("--markdown", type=file_path, metavar="FILE", help="write the report as Markdown")
    parser.add_argument("--html", type=file_path, metavar="FILE", help="write the report as a page with plots")
    parser.add_argument("--quiet", action="store_true", help="show no progress bar")


def run(arguments: argparse.Namespace) -> None:
    """Judge the samples, write the report where it is asked for, and print it."""
    from var.evaluation.judging import judge
    from var.evaluation.report.saving import save, save_forms
    from var.evaluation.report.score_report import check_name
    from var.evaluation.report.text import text
    from var.evaluation.sets.reference_statistics import check_maker

    check_name(arguments.name)
    _check_outputs(arguments)
    open_regular(arguments.reference, "statistics that `var stats build` makes").close()  # before the network is got
    check_maker(arguments.reference, arguments.extractor)
    progress = not arguments.quiet
    report = judge(
        arguments.samples,
        arguments.reference,
        extractor.load(arguments, progress=progress),
        name=arguments.name,
        protocol=arguments.protocol,
        train=arguments.train,
        test=arguments.real_test,
        keep_share=arguments.keep_share,
        classifier=extractor.load_classifier(arguments, progress=progress),
        captions=arguments.captions,
        device=arguments.device,
        progress=progress,
    )
    try:
        save_forms(report, json=arguments.json, markdown=arguments.markdown, html=arguments.html)
        if arguments.output is not None:
            save(report, arguments.output)
    finally:  # hours of work are not lost because a disk is full
        print(text([report]))


def _check_outputs(arguments: argparse.Namespace) -> None:
    """Refuse, before hours of work and not after them, what could not be written."""
    from var.evaluation.report.saving import FORMS

    wants_plots = arguments.html is not None or arguments.output is not None
    if wants_plots and importlib.util.find_spec("matplotlib") is None:
        raise UserError('the page needs matplotlib for its plots; pip install "next-scale[compare]"')
    inputs = [*arguments.samples, arguments.reference, arguments.train, arguments.real_test]
    outputs = [(f"--{kind}", getattr(arguments, kind)) for kind in FORMS]
    if arguments.output is not None:
        outputs += [("--output", arguments.output / name) for name in FORMS.values()]
    check_outputs(outputs, [*inputs, *extractor.files(arguments)])
