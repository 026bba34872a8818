"""The command line of `var`: the table of its commands."""

from collections.abc import Sequence

from var.command_line.frame import run

COMMANDS = {
    "generate": "var.commands.generate",
    "edit": "var.commands.edit",
    "app": "var.commands.app",
    "train": "var.commands.train",
    "doctor": "var.commands.doctor",
    "codec": "var.commands.codec",
    "data": "var.commands.data",
    "sample-set": "var.commands.sample_set",
    "stats": "var.commands.stats",
    "evaluate": "var.commands.evaluate",
    "report": "var.commands.report",
}
"""Where each command lives: a module with HELP, add_arguments and run."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `var` with `argv` (default: the process's arguments); returns the exit code."""
    return run("var", "Image generation by next-scale prediction.", COMMANDS, argv)
