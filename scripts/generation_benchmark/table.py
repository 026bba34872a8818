"""What the benchmark prints."""

from typing import Any

FLOORS = {(16, 1): 527, (16, 64): 797, (30, 1): 109, (30, 64): 190}
"""Images a second of (depth, batch) at which an H200 would be busy without a pause (790 TFLOP/s, 4.3 TB/s)."""


def table(case: dict[str, Any], depth: int = 0, device: str = "") -> str:
    """The figures of a case in lines of at most 100 columns; on an H200 also the share of its `FLOORS` reached."""
    batch, seconds = case["batch"], case["seconds"]
    reference = next(name for name in ("official", *seconds) if name in seconds)
    lines = [
        f"\n{case['dtype']}, batch {batch}; times faster than {reference} in brackets",
        f"{'':10} {'s per call':>10} {'images/s':>10} {'':>9} {'operators':>10} {'MiB more':>10}",
    ]
    for name, value in seconds.items():
        memory = case["memory_mib"][name]
        lines.append(
            f"{name:10} {value:10.3f} {batch / value:10.3f} {f'({seconds[reference] / value:.2f}x)':>9} "
            f"{case['operators'].get(name, ''):>10} {'-' if memory is None else f'{memory:.0f}':>10}"
        )
    for part in ("decoder", "sampling"):
        figures = case[f"{part}_seconds"]
        ratio = f" ({figures['official'] / figures['engine']:.2f}x)" if "official" in figures else ""
        listed = ", ".join(f"{name} {1e3 * value:.1f} ms" for name, value in figures.items())
        lines.append(f"{part}: {listed}{ratio}")
    shares = [
        f"{name} {1e3 * value:.1f} ms ({value / seconds[name]:.2%} of a call)"
        for name, value in case.get("noticing_seconds", {}).items()
    ]
    if shares:
        lines.append(f"noticing changed weights: {', '.join(shares)}")
    floor = FLOORS.get((depth, batch)) if "H200" in device else None
    if floor:
        reached = {name: batch / value / floor for name, value in seconds.items()}
        shares = ", ".join(f"{name} {share:.0%}" for name, share in reached.items())
        lines.append(f"share of the {floor} images/s of a busy device: {shares}")
    lines.append("ms by scale: " + " ".join(f"{value:.0f}" for value in case["milliseconds_by_scale"]))
    agreed = ", ".join(f"{name} {'identical' if same else 'DIFFERENT'}" for name, same in case["same_tokens"].items())
    if agreed:
        lines.append(f"tokens as official: {agreed}")
    if case.get("parting"):
        parting = case["parting"]
        lines.append(
            f"greedy tokens part at scale {parting['scale']}: {parting['tokens']} tokens, each two with logits within "
            f"{parting['widest_gap']:.1e} (spread of all: {parting['logit_std']:.1f})"
        )
    return "\n".join(lines)
