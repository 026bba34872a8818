"""Train VAR and a diffusion model on the same data, judge both the same way, and write the report.

    python scripts/compare.py digits [--quick] [--equal-flops] [--seed 0] [--output DIR] [--device cpu] [--fresh]

Finished stages are kept in the output folder under their settings: a second run reuses them, and an interrupted one
goes on from the last finished stage.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from var.command_line.frame import CommandParser, file_path, guarded
from var.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the comparison; returns the exit code: 0, 2 for a mistake of the user, 130 after Ctrl-C."""
    resume = "run the same command again to go on from the last finished stage"
    return guarded("compare.py", lambda: _with_packages(_parser().parse_args(arguments)), interrupted=resume)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="compare.py",
        description="Train VAR and a diffusion model on the same data, judge both the same way, write a report.",
    )
    parser.add_argument("data", help="what to compare on: digits (scikit-learn's handwritten digits)")
    parser.add_argument("--quick", action="store_true", help="a first look in 2 minutes: little training, few samples")
    parser.add_argument(
        "--equal-flops",
        action="store_true",
        help="train diffusion for as many operations as VAR (default: for about as many seconds)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of both models and their samples (default 0)")
    parser.add_argument(
        "--output", type=file_path, help="folder of the report (default outputs/DATA, with -quick, -equal-flops)"
    )
    parser.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    parser.add_argument("--fresh", action="store_true", help="forget all stages that earlier runs left in the folder")
    return parser


def _with_packages(options: argparse.Namespace) -> int:
    try:
        return _compare(options)
    except ImportError as error:
        raise UserError(f'{error}; install the package with its extra: pip install ".[compare]"') from error


def _compare(options: argparse.Namespace) -> int:
    started = time.perf_counter()
    # Imported here, so that --help answers at once; the other processes import at the same time.
    from comparison.processes import start_server

    start_server()
    from comparison.report.verdict import verdict
    from comparison.run import run
    from comparison.settings import comparison

    from var.evaluation.report.text import text

    plan = comparison(options.data, quick=options.quick)
    suffix = ("-quick" if options.quick else "") + ("-equal-flops" if options.equal_flops else "")
    output = options.output or Path("outputs") / f"{options.data}{suffix}"
    if options.equal_flops:
        from comparison.matching import equal_flops

        plan = equal_flops(plan)
    report = run(plan, output, seed=options.seed, device=options.device, fresh=options.fresh)
    print(f"\n{report.table()}\n\n{text(report.score_reports())}\n")
    for sentence in verdict(report):
        print(f"- {sentence}")
    print(f"\n{output / 'report.html'} shows it all. {time.perf_counter() - started:.0f} s in all.")
    return 0


if __name__ == "__main__":
    # Under -P and PYTHONSAFEPATH, Python leaves out the script's folder, where the other parts lie.
    sys.path.append(str(Path(__file__).parent))
    sys.exit(main())
