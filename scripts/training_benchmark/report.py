"""The figures of the benchmark, as JSON and as a table."""

from typing import Any

from training_benchmark.steps import PHASES


def figures(seconds: dict[str, float], *, tokens: int, flops: int, peak: float, memory: float | None) -> dict[str, Any]:
    """What one way's fastest step amounts to; `peak` is the machine's, in FLOP/s."""
    total = sum(seconds.values())
    return {
        "seconds": total,
        "phases": seconds,
        "tokens_per_second": tokens / total,
        "model_flops": flops,
        "mfu": flops / total / peak,
        "peak_flops": peak,
        "memory_mib": memory,
    }


def table(report: dict[str, Any]) -> str:
    """All ways beside each other; the step of the first is the measure of the others."""
    ways = report["ways"]
    reference = next(iter(ways.values()))["seconds"]
    lines = [
        f"d{report['depth']}, batch {report['batch']}, {report['tokens']} tokens per image, "
        f"{report['parameters']:,} parameters",
        f"{'':12} {'s per step':>9} {'':>8} {'tokens/s':>10} {'MFU':>6} {'peak MiB':>9}   "
        + " ".join(f"{phase:>9}" for phase in PHASES),
    ]
    for name, way in ways.items():
        faster = f"({reference / way['seconds']:.2f}x)"
        memory = "-" if way["memory_mib"] is None else f"{way['memory_mib']:.0f}"
        phases = " ".join(f"{way['phases'][phase]:9.3f}" for phase in PHASES)
        lines.append(
            f"{name:12} {way['seconds']:9.3f} {faster:>8} {way['tokens_per_second']:10,.0f} {way['mfu']:6.1%} "
            f"{memory:>9}   {phases}"
        )
    peaks = ", ".join(f"{name} {way['peak_flops'] / 1e9:,.0f}" for name, way in ways.items())
    lines.append(f"MFU: FLOPs of the transformer's forward and backward pass over GFLOP/s of a matrix product: {peaks}")
    if report.get("largest_batch"):
        fit = ", ".join(f"{name} {size}" for name, size in report["largest_batch"].items())
        lines.append(f"largest batch that fits: {fit}")
    return "\n".join(lines)
