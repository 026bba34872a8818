"""Train families of models on the same data, judge all the same way, and write the report.

    python scripts/compare.py DATA [--models var,diffusion] [--equal-flops] [training]
    python scripts/compare.py DATA --families [--seconds 100] [--models var,gan] [training]
    python scripts/compare.py --runs RUN... --reference DATA
    training: [--preset NAME] [--size 32] [--seeds 3] [--quick]
    all three: [--sweep] [--seed 0] [--output DIR] [--device cpu] [--fresh]

Finished stages are kept in the output folder under their settings: a second run reuses them, and an interrupted one
goes on where it was, inside a training too. A launcher's processes train together: torchrun, accelerate launch.
"""

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from var.command_line.frame import ArgumentError, CommandParser, file_path, guarded, whole_number
from var.errors import UserError

Value = TypeVar("Value")

SECONDS = 100
"""Of the training of each family."""

MODELS = (
    "families, by commas (default: var,diffusion; with --families all but gan-hinge and gan-wasserstein, which are "
    "compared where they are named)"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; returns the exit code: 0, 2 for a mistake of the user, 130 after Ctrl-C."""
    resume = "run the same command again to go on"
    return guarded("compare.py", lambda: _with_packages(lambda: _compare(_options(arguments))), interrupted=resume)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        _check(options)
    except UserError as mistake:
        raise ArgumentError(parser.prog, str(mistake)) from mistake
    return options


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="compare.py",
        description="Train families of models on the same data, judge all the same way, write a report.",
    )
    add = parser.add_argument
    add("data", nargs="?", help="what to compare on: digits, shapes, emoji, a folder of images, tar shards, hf:NAME")
    add("--preset", help="of all models (default: that of the data's name, or small models for 32 pixels)")
    add("--size", type=whole_number(least=1), help="side of the images in pixels (default: the preset's)")
    add("--models", default="", help=MODELS)
    add("--families", action="store_true", help="compare every family of generative model, each trained equally long")
    add("--seconds", type=whole_number(least=1), help=f"with --families: of each training (default {SECONDS})")
    add(
        "--runs",
        nargs="+",
        default=[],
        metavar="RUN",
        help="folders of trained models, or next-scale/NAME, which are compared instead",
    )
    add("--reference", metavar="DATA", help="with --runs: the images that they are judged by")
    add("--sweep", action="store_true", help="choose guidance and steps on validation images first")
    add("--quick", action="store_true", help="a first look: little training, few samples; not with --runs")
    add(
        "--equal-flops",
        action="store_true",
        help="train all models for as many operations as the first (default: for about as many seconds); not with "
        "--runs or --families",
    )
    add("--seed", type=whole_number(), default=0, help="of the models and their samples (default 0)")
    add("--seeds", type=whole_number(least=1), default=1, help="train with so many seeds, from --seed on (default 1)")
    add("--output", type=file_path, help="folder of the report (default outputs/DATA, with -quick, -equal-flops)")
    add("--device", help="cpu or cuda (default: cuda where there is one)")
    add("--fresh", action="store_true", help="forget all stages that earlier runs left in the folder")
    return parser


def _with_packages(work: Callable[[], Value]) -> Value:
    """What `work` returns; raises `UserError` for a package that is missing."""
    try:
        return work()
    except ImportError as error:
        raise UserError(f'{error}; install the package with its extra: pip install ".[compare]"') from error


def _check(options: argparse.Namespace) -> None:
    """Raise `UserError` for options that do not go together."""
    if (options.data is None) == (not options.runs):
        given = "both" if options.runs else "neither"
        raise UserError(f"either DATA or --runs says what is compared, got {given}; give one of them")
    only = {"--preset": options.preset, "--size": options.size, "--models": options.models}
    only |= {"--equal-flops": options.equal_flops, "--quick": options.quick, "--seeds": options.seeds > 1}
    only |= {"--families": options.families}
    if options.runs and (name := next((name for name, value in only.items() if value), None)):
        raise UserError(f"{name} is about training, and with --runs nothing is trained; leave it out")
    if options.seconds is not None and not options.families:
        raise UserError(f"--seconds is for --families, got {options.seconds} without; add --families, or leave it out")
    if options.families and options.equal_flops:
        raise UserError("trainings are equal in one way, got --families, of equal seconds, and --equal-flops; drop one")
    if options.reference and not options.runs:
        raise UserError("--reference is for --runs, got none; leave it out, DATA is the reference")


def _compare(options: argparse.Namespace) -> int:
    started = time.perf_counter()
    # Imported here, so that --help answers at once; the other processes import at the same time.
    from comparison.processes import is_main, start_server

    start_server()
    from comparison.report.verdict import verdict
    from comparison.run import run

    from var.devices import chosen_device
    from var.evaluation.report.text import text
    from var.training.distributed import Processes

    processes = Processes(options.device and chosen_device(options.device))
    plan = processes.from_main(lambda: _with_packages(lambda: _plan(options)))
    output = options.output or _usual_output(options)
    seeds = list(range(options.seed, options.seed + options.seeds))
    report = run(plan, output, seeds=seeds, processes=processes, fresh=options.fresh, sweep=options.sweep)
    if not is_main():
        return 0
    # All scores of so many models side by side are for the page.
    print(f"\n{report.table()}\n")
    if not options.families:
        if len(seeds) > 1:
            print(f"Of training seed {seeds[0]}:")
        print(f"{text(report.score_reports())}\n")
    for sentence in verdict(report):
        print(f"- {sentence}")
    for name in ("licence", "attribution"):
        if report.settings.get(name):
            print(f"- {name.capitalize()} of the data: {report.settings[name]}")
    for each in report.settings["terms"]:
        print(f"- {each}")
    print(f"\n{output / 'report.html'} shows it all. {time.perf_counter() - started:.0f} s in all.")
    return 0


def _plan(options: argparse.Namespace) -> Any:
    """The `Comparison` that the options say."""
    from comparison.settings import comparison
    from comparison.trained import comparison_of
    from comparison.training import check_batches

    if options.runs:
        plan = comparison_of(options.runs, options.reference, validated=options.sweep)
    else:
        models = options.models.split(",") if options.models else []
        sizes = {"preset": options.preset, "size": options.size}
        how = {"validated": options.sweep, "quick": options.quick}
        how |= {"seconds": float(options.seconds or SECONDS)} if options.families else {}
        plan = comparison(options.data, **sizes, models=models, **how)
    check_batches(plan)
    if not options.equal_flops:
        return plan
    from comparison.matching import equal_flops
    from comparison.schedule import alone

    return alone(equal_flops, plan)


def _usual_output(options: argparse.Namespace) -> Path:
    source = options.data or options.reference
    name = re.sub(r"[^A-Za-z0-9-]+", "-", Path(source).name).strip("-") or "data"
    parts = {
        "-runs": options.runs,
        "-families": options.families,
        "-quick": options.quick,
        "-equal-flops": options.equal_flops,
    }
    return Path("outputs") / (name + "".join(part for part, given in parts.items() if given))


if __name__ == "__main__":
    # Under -P and PYTHONSAFEPATH, Python leaves out the script's folder, where the other parts lie.
    sys.path.append(str(Path(__file__).parent))
    sys.exit(main())
