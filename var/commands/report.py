"""`var report diff`: two reports side by side."""

import argparse

from var.command_line.frame import file_path

HELP = "set two reports side by side"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    actions = parser.add_subparsers(required=True, metavar="ACTION", dest="action")
    diff = actions.add_parser("diff", description="All numbers of two reports side by side, and what differs.")
    diff.add_argument("first", type=file_path, metavar="A", help="JSON file of a report")
    diff.add_argument("second", type=file_path, metavar="B", help="JSON file of the other report")
    diff.add_argument("--markdown", action="store_true", help="print a Markdown table instead of plain text")


def run(arguments: argparse.Namespace) -> None:
    """Print both reports."""
    from var.evaluation.report.diff import diff_reports

    print(diff_reports(arguments.first, arguments.second, style="markdown" if arguments.markdown else "text"))
