"""Time a training step of the transformer: tokens encoded in the step, from the cache, and from the cache in bf16.

    python scripts/benchmark_training.py [--depth 8] [--batch 2] [--ways online cached cached-bf16] [--repeats 3]
        [--device cpu] [--threads 1] [--compile] [--peak GFLOPS] [--fit] [--json FILE]

All ways take turns in one process; the figures are those of each one's fastest step, in process time on a CPU and
between synchronisations on a GPU. The models are those of the published 256 px shapes, untrained: time does not depend
on the weights.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from var.command_line.frame import CommandParser, file_path, guarded, whole_number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code: 0, or 2 for a mistake of the user."""
    return guarded("benchmark_training.py", lambda: _report(_parser().parse_args(arguments)))


def _report(options: argparse.Namespace) -> None:
    report = _benchmark(options)
    from training_benchmark.report import table

    from var.files import write_json

    if options.json:
        write_json(options.json, report)
    print(table(report))


def _benchmark(options: argparse.Namespace) -> dict[str, Any]:
    import torch
    from benchmarking.machine import machine
    from benchmarking.measuring import peak_memory
    from training_benchmark.report import figures
    from training_benchmark.steps import WAYS, Models, Step, fastest, fitting_batch, matmul_peak

    from var import VARConfig, VQVAEConfig
    from var.recipes.transformer.job import transformer_cost

    torch.set_num_threads(options.threads)
    depth = options.depth
    config = VARConfig(depth=depth, width=64 * depth, heads=depth, drop_path=0.1 * depth / 24)
    models = Models.of(config, VQVAEConfig(), options.device)
    settings = {"device": options.device, "compiled": options.compile}
    steps = {name: Step(WAYS[name], models, options.batch, **settings) for name in options.ways}
    best = fastest(steps, options.repeats)
    flops = transformer_cost(config).flops * options.batch
    report = {
        "machine": machine(options.device, options.threads),
        "depth": depth,
        "batch": options.batch,
        "compiled": options.compile,
        "tokens": config.schedule.length,
        "parameters": sum(weight.numel() for weight in models.transformer.parameters()),
        "ways": {
            name: figures(
                best[name],
                tokens=config.schedule.length * options.batch,
                flops=flops,
                peak=1e9 * options.peak if options.peak else matmul_peak(options.device, step.way.bf16),
                memory=peak_memory(step, options.device),
            )
            for name, step in steps.items()
        },
    }
    if options.fit:
        report["largest_batch"] = {name: fitting_batch(WAYS[name], models, **settings) for name in options.ways}
    return report


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="benchmark_training.py", description="Time a training step of the transformer, phase by phase."
    )
    parser.add_argument("--depth", type=int, default=8, help="of the transformer: 16 is d16 (default 8)")
    parser.add_argument("--batch", type=whole_number(least=1), default=2, help="images per step (default 2)")
    parser.add_argument(
        "--ways",
        nargs="+",
        default=["online", "cached", "cached-bf16"],
        choices=["online", "online-bf16", "cached", "cached-bf16"],
        help="where tokens come from, and the precision; the first one is the measure of the others",
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--threads", type=whole_number(least=1), default=1, help="of the CPU (default 1)")
    parser.add_argument("--repeats", type=whole_number(least=1), default=3, help="timed steps of each way (default 3)")
    parser.add_argument("--compile", action="store_true", help="compile the transformer")
    parser.add_argument("--peak", type=float, help="GFLOP/s of the machine for the MFU; default: a matrix product")
    parser.add_argument("--fit", action="store_true", help="search the largest batch that fits into a GPU's memory")
    parser.add_argument("--json", type=file_path, help="write the figures there too")
    return parser


if __name__ == "__main__":
    # Under -P and PYTHONSAFEPATH, Python leaves out the script's folder, where the other parts lie.
    sys.path.append(str(Path(__file__).parent))
    sys.exit(main())
