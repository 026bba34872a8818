"""`var data`: data sets as files."""

import argparse

from var import quantities
from var.command_line.frame import file_path, one_of, whole_number
from var.names import shown

HELP = "write a data set out as a folder of class folders"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    write = actions.add_parser("write", help=HELP, description="Write images as PNG files, one folder per class.")
    write.add_argument("data", metavar="DATA", help="anything that can be trained on, for example `shapes`")
    write.add_argument("folder", type=file_path, metavar="FOLDER", help="where the class folders go")
    write.add_argument("--count", type=whole_number(least=1), help="the first so many images; default: all")
    write.add_argument("--size", type=whole_number(least=1), help="side length in pixels; default: the data's own")
    write.add_argument(
        "--split", type=one_of("train", "val", "test", "all"), default="train", help="which part (default train)"
    )
    write.add_argument("--quiet", action="store_true", help="no progress bar")


def run(arguments: argparse.Namespace) -> None:
    """Write the images."""
    from var.data.apart import check_apart
    from var.data.base import notes_of
    from var.data.catalog import open_data, places_of
    from var.data.write import write_folder

    check_apart(arguments.folder, places_of(arguments.data))
    data = open_data(
        arguments.data, split=arguments.split, size=arguments.size, captions=True, progress=not arguments.quiet
    )
    count = len(data) if arguments.count is None else min(arguments.count, len(data))
    write_folder(data, arguments.folder, count=count, progress=not arguments.quiet)
    classes = len(data.labels[:count].unique())
    written = f"{quantities.count(count, 'image')} of {quantities.count(classes, 'class', 'classes')}"
    for line in (f"wrote {written} into {shown(arguments.folder)}", *notes_of(data)):
        print(line)
