"""Time what only next-scale can do: scales without guidance, two models by turns, a search over scales.

    python scripts/benchmark_scales.py [--depth 16] [--small 8] [--batch 1] [--device cpu] [--threads 1] [--repeats 3]

Random weights of the published 256 px shapes. All ways run in turn in one process; the figures are minima over the
repeats, of process time on a CPU and of time between synchronisations on a GPU, with decoding and without, beside the
same of the plain call.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from var.command_line.frame import CommandParser, guarded, whole_number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; returns the exit code: 0, 2 for a mistake of the user."""
    return guarded("benchmark_scales.py", lambda: _benchmark(_parser().parse_args(arguments)))


def _benchmark(options: argparse.Namespace) -> None:
    import torch
    from benchmarking.machine import machine
    from benchmarking.measuring import fastest
    from generation_benchmark.models import build

    from var import VARPipeline

    torch.set_num_threads(options.threads)
    large = build(options.depth, None, options.device).pipeline
    small = VARPipeline(large.vqvae, build(options.small, None, options.device).pipeline.transformer)
    plain = {"guidance_scale": [2.5] * 10}
    ways: dict[str, tuple[VARPipeline, dict[str, Any]]] = {
        "guided at all scales": (large, plain),
        "the last two unguided": (large, {"guidance_scale": [2.5] * 8 + [1.0] * 2}),
        f"handover to d{options.small} at 7": (VARPipeline.collaborate(large, small, handover=7), plain),
        "best of 4 to scale 6": (large, {**plain, "candidates": 4, "keep_scale": 6}),
        "best of 4, each to its end": (large, {**plain, "candidates": 4, "keep_scale": 9}),
    }
    call = {"seeds": range(options.batch), "top_k": 900, "top_p": 0.96, "output_type": "pt", "progress": False}
    calls = {name: lambda pipe=pipe, given=given: pipe(207, **call, **given) for name, (pipe, given) in ways.items()}
    for each in calls.values():
        each()  # warm-up: weights are prepared, kernels chosen
    decode, side = large._prepare().decode, large.vqvae.config.schedule.shapes[-1]
    latents = torch.zeros(options.batch, large.vqvae.config.width, *side, device=options.device)
    seconds = fastest({"decoder": lambda: decode(latents), **calls}, options.repeats, options.device)
    print(", ".join(f"{name} {value}" for name, value in machine(options.device, options.threads).items()))
    decoding = seconds.pop("decoder")
    first = next(iter(seconds.values()))
    for name, each in seconds.items():
        alone = (first - decoding) / (each - decoding)
        print(f"{name:28} {each:7.3f} s, x{first / each:.2f}; without decoding {each - decoding:7.3f} s, x{alone:.2f}")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="benchmark_scales.py", description="Time what only next-scale generation can do.")
    parser.add_argument("--depth", type=whole_number(least=1), default=16, help="of the transformer (default 16)")
    parser.add_argument("--small", type=whole_number(least=1), default=8, help="depth of the one that takes over")
    parser.add_argument("--batch", type=whole_number(least=1), default=1, help="images per call")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=whole_number(least=1), default=1, help="of the CPU")
    parser.add_argument("--repeats", type=whole_number(least=1), default=3, help="calls of each way, in turn")
    return parser


if __name__ == "__main__":
    # Under -P and PYTHONSAFEPATH, Python leaves out the script's folder, where the other parts lie.
    sys.path.append(str(Path(__file__).parent))
    sys.exit(main())
