"""The frame of all command lines here: a table of commands, one line for a mistake, and what the exit code says.

A command is a module with `HELP`, a sentence; `add_arguments(parser)`; `run(arguments)`, which may return an exit
code; and `RESUMES = True` if it goes on where an earlier run was interrupted. Only the module of the command that was
named is imported, and it imports what is heavy inside `run`, so that help and mistakes are instant.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, NoReturn, TypeVar

from var.command_line.streams import tolerant_streams
from var.errors import ToldError, UserError, first_line, suggestion
from var.paths import expanded
from var.progress import silence

Value = TypeVar("Value")

OK, FAULT, MISTAKE, INTERRUPTED, CLOSED_PIPE = 0, 1, 2, 130, 141
"""The exit codes: all is well; what was looked at has a fault; the user's mistake; Ctrl-C; nobody reads any more."""


def run(program: str, description: str, commands: Mapping[str, str], argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (default: the process's arguments) names; returns the exit code.

    `commands` maps a name to the module of the command. A `UserError`, which unknown commands and options are too,
    becomes one line on standard error, `program command: error: ...`, and code 2, and so do a full disk and too little
    memory; Ctrl-C becomes code 130. What all processes of a launcher meet, one of them tells. Printing never ends the
    work: that nobody could read it is said at the end.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    return guarded(program, lambda: _run(program, description, commands, given))


def guarded(speaker: str, work: Callable[[], int | None], *, interrupted: str = "") -> int:
    """The exit code of `work`, whose mistakes are told by `speaker` as `run` says, and whose printing never ends it.

    `interrupted` is what Ctrl-C is answered with besides.
    """
    with tolerant_streams() as (out, _):
        code = _guarded(speaker, work, interrupted)
        out.flush()
        if isinstance(out.failure, BrokenPipeError):
            return code or CLOSED_PIPE
        if out.failure is not None:
            reason = _reason(out.failure)
            code = _refuse(speaker, UserError(f"standard output must be writable, but: {reason}; mend it"))
    return code


def parsed(parse: Callable[[str], Value]) -> Callable[[str], Value]:
    """`parse` as the `type` of an argument: its `UserError` is told in its own words, after the argument's name."""

    def parse_argument(text: str) -> Value:
        try:
            return parse(text)
        except UserError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument


def one_of(*names: str) -> Callable[[str], str]:
    """The `type` of an argument that is one of `names`; the nearest ones are suggested for any other."""

    def parse(text: str) -> str:
        if text not in names:
            raise UserError(f"unknown value {text!r}; {suggestion(text, names)}")
        return text

    return parsed(parse)


LARGEST = 10**19 - 1
"""Whole numbers of more digits are refused before they are computed."""


def whole_number(*, least: int = 0, most: int = LARGEST) -> Callable[[str], int]:
    """The `type` of an argument that is a whole number from `least` to `most`."""
    rule = f"from {least} on" if most == LARGEST else f"from {least} to {most}"

    def parse(text: str) -> int:
        digits = text.removeprefix("-")
        if (
            not digits.isascii()
            or not digits.isdigit()
            or len(digits) > len(str(LARGEST))
            or not least <= int(text) <= most
        ):
            raise UserError(f"expected a whole number {rule}, got {text!r:.100}")
        return int(text)

    return parsed(parse)


file_path = parsed(expanded)
"""The `type` of an argument that is a path; `~` is the home folder."""


@parsed
def number(text: str) -> float:
    """The `type` of an option that takes any finite number."""
    try:
        value = float(text if text.isascii() and "_" not in text else "nan")
    except ValueError:
        value = float("nan")
    if not abs(value) < float("inf"):
        raise UserError(f"expected a number, got {text!r:.100}")
    return value


class CommandParser(argparse.ArgumentParser):
    """An `ArgumentParser` that tells mistakes in one line, suggests names, and takes no abbreviations."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Raise the mistake, which `run` prints."""
        raise ArgumentError(self.prog, f"{message}; `{self.prog} --help` tells what is possible")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as the base class does, but refuse what is left over; this is how subcommands are parsed too."""
        known, rest = super().parse_known_args(args, namespace)
        if rest:
            unknown = next((each for each in rest if each.startswith("-")), rest[0])
            if not unknown.startswith("-"):
                self.error(f"unexpected argument {unknown!r}")
            name = unknown.partition("=")[0]
            near = suggestion(name, [option for action in self._actions for option in action.option_strings])
            remedy = near if near.startswith("did you mean") else f"`{self.prog} --help` lists them all"
            raise ArgumentError(self.prog, f"unknown option {name!r}; {remedy}")
        return known, rest


class ArgumentError(UserError):
    """A mistake in the arguments of `speaker`, the program or one of its commands."""

    def __init__(self, speaker: str, message: str) -> None:
        super().__init__(message)
        self.speaker = speaker


def _run(program: str, description: str, commands: Mapping[str, str], argv: list[str]) -> int:
    if not argv or argv[0].startswith("-"):
        _overview(program, description, commands).parse_args(argv)
        raise UserError(f"a command must be named, got none; {suggestion('', commands)}")
    name = argv[0]
    if name not in commands:
        raise UserError(f"unknown command {name!r}; {suggestion(name, commands)}")
    speaker, command = f"{program} {name}", import_module(commands[name])

    def work() -> int | None:
        parser = CommandParser(prog=speaker, description=command.HELP)
        command.add_arguments(parser)
        arguments = parser.parse_args(argv[1:])
        if getattr(arguments, "quiet", False):
            silence()  # those of libraries; ours ask for the option themselves
        return command.run(arguments)

    resumes = getattr(command, "RESUMES", False)
    return _guarded(speaker, work, "run the same command again to go on" if resumes else "")


def _guarded(speaker: str, work: Callable[[], int | None], interrupted: str) -> int:
    try:
        return work() or OK
    except UserError as mistake:
        return _refuse(getattr(mistake, "speaker", speaker), mistake)
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        return _refuse(speaker, UserError(f"the system must allow the work, but: {place}{_reason(error)}; mend it"))
    except (MemoryError, RuntimeError) as error:
        if not _is_out_of_memory(error):
            raise
        reason = first_line(error)
        return _refuse(speaker, UserError(f"the work must fit into memory, but: {reason}; ask for less at once"))
    except KeyboardInterrupt:
        if _is_first():
            print(f"\n{speaker}: interrupted{'; ' if interrupted else ''}{interrupted}", file=sys.stderr)
        return INTERRUPTED
    except SystemExit as end:  # argparse ends the process after --help and --version
        return end.code if isinstance(end.code, int) else OK


def _refuse(speaker: str, mistake: UserError) -> int:
    # The arguments are those of all processes.
    if not isinstance(mistake, ToldError) and (_is_first() or not isinstance(mistake, ArgumentError)):
        print(f"{speaker}: error: {mistake}", file=sys.stderr)
    return MISTAKE


def _is_first() -> bool:
    """Whether a launcher started no other process before this one on this machine."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or first_line(error)


def _is_out_of_memory(error: Exception) -> bool:
    words = f"{type(error).__name__} {error}".lower()
    return any(word in words for word in ("out of memory", "outofmemory", "memoryerror", "can't allocate memory"))


def _overview(program: str, description: str, commands: Mapping[str, str]) -> CommandParser:
    """The parser of what stands before a command; its help lists all commands."""
    from var.version import __version__

    width = max(len(name) for name in commands) + 2
    lines = [f"  {name:{width}}{import_module(module).HELP}" for name, module in commands.items()]
    parser = CommandParser(
        prog=program,
        usage=f"{program} COMMAND ...",
        description=description,
        epilog="\n".join(["commands:", *lines, "", f"`{program} COMMAND --help` tells the options of a command."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"next-scale {__version__}")
    return parser
