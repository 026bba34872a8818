"""Time generation: the engine, as it is and compiled, and (given a checkout of it) the official code, same weights.

    python scripts/benchmark_generation.py [--official PATH] [--depth 16] [--batch 1 8] [--dtype float32 bfloat16]
        [--device cpu] [--threads 1] [--repeats 3] [--contenders engine official] [--json FILE]

All contenders run in turn in one process; the figures are minima over the repeats, of process time on a CPU and of time
between synchronisations on a GPU. Tokens are first compared with the official code's, greedily and drawn
from its random stream.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from var.command_line.frame import CommandParser, file_path, guarded, whole_number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code: 0, 1 where tokens differ in float32, 2 for a mistake of the user."""
    return guarded("benchmark_generation.py", lambda: _benchmark(_parser().parse_args(arguments)))


def _benchmark(options: argparse.Namespace) -> int:
    import torch
    from benchmarking.machine import machine
    from generation_benchmark.cases import CONTENDERS, Case, measure
    from generation_benchmark.models import build
    from generation_benchmark.table import table

    from var.errors import UserError
    from var.files import write_json

    named = options.contenders or CONTENDERS
    if options.contenders and "official" in named and options.official is None:
        raise UserError(
            "the official code is timed from a checkout of it, got none; add --official PATH, or leave it out"
        )
    torch.set_num_threads(options.threads)
    models = build(options.depth, options.official, options.device)
    report = {"machine": machine(options.device, options.threads), "depth": options.depth, "cases": []}
    print(", ".join(f"{name} {value}" for name, value in report["machine"].items()))
    for dtype in options.dtype:
        for batch in options.batch:
            case = Case(
                batch=batch,
                dtype=getattr(torch, dtype),
                device=options.device,
                repeats=options.repeats,
                contenders=tuple(named),
            )
            report["cases"].append(measure(models, case))
            print(table(report["cases"][-1], options.depth, report["machine"]["device"]), flush=True)
    if options.json:
        write_json(options.json, report)
    plain = [case for case in report["cases"] if case["dtype"] == "float32"]
    return 0 if all(all(case["same_tokens"].values()) for case in plain) else 1


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="benchmark_generation.py", description="Time generation, beside the official code.")
    parser.add_argument("--official", type=file_path, help="checkout of the official code, imported to run beside ours")
    parser.add_argument(
        "--depth", type=whole_number(least=1), default=16, help="of the transformer: 16 is d16 (default)"
    )
    parser.add_argument("--batch", type=whole_number(least=1), nargs="+", default=[1, 8], help="images per call")
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=whole_number(least=1), default=1, help="of the CPU")
    parser.add_argument("--repeats", type=whole_number(least=1), default=3, help="calls of each contender, in turn")
    names = ("engine", "compiled", "official")
    parser.add_argument("--contenders", nargs="+", choices=names, help="who takes part (default all that are there)")
    parser.add_argument("--json", type=file_path, help="file for all figures")
    return parser


if __name__ == "__main__":
    # Under -P and PYTHONSAFEPATH, Python leaves out the script's folder, where the other parts lie.
    sys.path.append(str(Path(__file__).parent))
    sys.exit(main())
