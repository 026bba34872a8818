"""`var stats build`: the statistics of a folder of real images, to judge samples against."""

import argparse

from var.command_line.frame import file_path, whole_number
from var.commands import extractor
from var.names import shown
from var.outputs import check_outputs

HELP = "make reference statistics of a folder of images"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    build = actions.add_parser("build", description="Features of all images in a folder, as statistics in one file.")
    build.add_argument(
        "folder", type=file_path, metavar="FOLDER", help="images, or one folder of images for each class"
    )
    build.add_argument("--output", type=file_path, required=True, metavar="NPZ", help="file of the statistics")
    build.add_argument("--size", type=whole_number(least=1), help="side to resize and crop to (default: as they are)")
    build.add_argument("--channels", type=int, choices=(1, 3), default=3, help="1 (grey) or 3 (default 3)")
    build.add_argument("--quiet", action="store_true", help="show no progress bar")
    extractor.add_arguments(build)


def run(arguments: argparse.Namespace) -> None:
    """Write the statistics."""
    from var.evaluation.sets.reference_statistics import build_statistics

    check_outputs([("--output", arguments.output)], [arguments.folder, *extractor.files(arguments)])
    progress = not arguments.quiet
    features = extractor.load(arguments, progress=progress)
    statistics = build_statistics(
        arguments.folder, features, size=arguments.size, channels=arguments.channels, progress=progress
    )
    statistics.save(arguments.output)
    print(f"statistics of {shown(arguments.folder)} in {shown(arguments.output)}")
    for note in statistics.notes:
        print(f"Caution. {note}")
