"""How loss and token error of next-scale transformers fall with parameters and with compute.

    python scripts/scaling_law.py DATA --vqvae RUN --output FOLDER [--depths 1,2,3,4] [--width 64] [--preset NAME]
                                  [--set NAME=VALUE ...]
    python scripts/scaling_law.py --runs RUN RUN RUN ... --output FOLDER

The first trains a transformer of width `--width` x depth for every depth, in FOLDER/depth-D; the same command goes on
after an interruption. The second reads finished runs. Both write FOLDER/scaling.json and FOLDER/scaling.png: power laws
y = c x^a (arXiv 2404.02905, Section 4.2) with 95 % intervals. Over parameters they go through held-out loss and error
at the end of training, over compute along the efficient frontier of the training curves, from where a second size
has a part in it.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from var.command_line.frame import CommandParser, guarded, parsed, whole_number
from var.command_line.run_options import add_set_argument
from var.errors import UserError

if TYPE_CHECKING:
    from scaling.power_law import PowerLaw
    from scaling.rungs import Rung


def main(arguments: Sequence[str] | None = None) -> int:
    """Train or read the ladder; returns the exit code: 0, 2 for a mistake of the user."""
    return guarded("scaling_law.py", lambda: _study(_parser().parse_args(arguments)))


def _study(options: argparse.Namespace) -> None:
    from scaling.figure import draw
    from scaling.rungs import measured
    from tqdm.auto import tqdm

    from var.files import make_folder, write_json

    runs = _read(options) if options.runs is not None else None
    folder = make_folder(options.output.expanduser())
    runs = _trained(options, folder) if runs is None else runs
    bar = tqdm(runs, desc="measure", disable=options.quiet)
    rungs = sorted(map(measured, bar), key=lambda rung: rung.parameters)
    laws, missing = _laws(rungs)
    draw(rungs, laws, folder / "scaling.png")
    write_json(
        folder / "scaling.json", {"rungs": list(map(asdict, rungs)), "laws": {n: asdict(w) for n, w in laws.items()}}
    )
    for rung in rungs:
        size = f"{rung.parameters:12,} parameters, {rung.flops:.3g} FLOPs"
        print(f"depth {rung.depth:2}, width {rung.width:4}: {size}, loss {rung.loss:.4f}, error {rung.error:.4f}")
    for name, law in laws.items():
        low, high = law.exponent_interval
        shape = f"{law.coefficient:.4g} x^{law.exponent:.4f} [{low:.4f}, {high:.4f}]"
        print(f"{name:22} {shape}, r = {law.correlation:.4f}, {law.points} points")
    for name, why in missing.items():
        print(f"{name:22} no law: {why}")


def _laws(rungs: "Sequence[Rung]") -> "tuple[dict[str, PowerLaw], dict[str, str]]":
    """The laws by name, and why one of them is missing; raises `UserError` for rungs whose losses do not compare."""
    from scaling.power_law import NoLawError, fit_power_law, frontier

    if other := next((rung for rung in rungs if rung.origin != rungs[0].origin), None):
        raise UserError(
            f"runs must be of one tokenizer and one data set, whose losses alone compare, got others in {rungs[0].run} "
            f"and {other.run}; leave one out"
        )
    points: dict[str, list[tuple[float, float]]] = {}
    for place, measure in enumerate(("loss", "error"), 1):
        points[f"{measure} over parameters"] = [(rung.parameters, getattr(rung, measure)) for rung in rungs]
        curves = [[(point[0], point[place]) for point in rung.curve] for rung in rungs]
        points[f"{measure} over compute"] = frontier(curves)
    laws, missing = {}, {}
    for name, best in points.items():
        if name.endswith("compute") and len(best) < 3:
            found = f"{len(best)} of the rows of the logs where a second size has a part are on the frontier"
            missing[name] = f"{found}, 3 are needed; train longer"
            continue
        try:
            laws[name] = fit_power_law([x for x, _ in best], [y for _, y in best], name)
        except NoLawError as error:
            missing[name] = str(error).removeprefix(f"{name} ")
    return laws, missing


def _read(options: argparse.Namespace) -> list[Path]:
    """The finished runs that are named; raises `UserError` for fewer than three, and for what is about training."""
    runs = [run.expanduser() for run in options.runs]
    about = {"DATA": options.data, "--vqvae": options.vqvae, "--set": options.assignments}
    if name := next((name for name, value in about.items() if value), None):
        raise UserError(f"{name} is about training, and with --runs nothing is trained; leave it out")
    if len({run.resolve() for run in runs}) < max(len(runs), 3):
        raise UserError(f"a law needs three different runs or more, got {', '.join(map(str, runs))}; name others")
    return runs


def _trained(options: argparse.Namespace, folder: Path) -> list[Path]:
    """The runs of all depths, trained one after another."""
    from scaling.rungs import train

    if options.data is None or options.vqvae is None:
        raise UserError("a ladder needs DATA and --vqvae, got none; give both, or name finished runs by --runs")
    more = ["--preset", options.preset, "--vqvae", options.vqvae, *(["--quiet"] if options.quiet else [])]
    more += [*(["--device", options.device] if options.device else [])]
    more += [part for each in options.assignments for part in ("--set", each)]
    runs = [folder / f"depth-{depth}" for depth in options.depths]
    for depth, run in zip(options.depths, runs, strict=True):
        train(options.data, run, depth, options.width * depth, more)
    return runs


def _depths(text: str) -> list[int]:
    depths = [int(each) if each.strip().isdecimal() else 0 for each in text.split(",")]
    if min(depths) < 1 or len({*depths}) < 3 or len({*depths}) != len(depths):
        raise UserError(f"expected three or more different depths from 1 up, got {text!r}; write 1,2,3,4")
    return depths


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(prog="scaling_law.py", description="Fit how loss and error fall with size and compute.")
    parser.add_argument("data", nargs="?", metavar="DATA", help="what is trained on, as for `var train`")
    parser.add_argument("--runs", nargs="+", type=Path, metavar="RUN", help="finished runs to read instead of training")
    parser.add_argument("--output", type=Path, required=True, help="folder of the ladder, its numbers and its picture")
    parser.add_argument("--vqvae", metavar="MODEL", help="the trained tokenizer of all depths")
    parser.add_argument("--depths", type=parsed(_depths), default=[1, 2, 3, 4], help="of the ladder (default 1,2,3,4)")
    parser.add_argument("--width", type=whole_number(least=1), default=64, help="per depth (default 64, as published)")
    parser.add_argument("--preset", default="shapes-32", help="of the transformer's training (default shapes-32)")
    add_set_argument(parser, "a setting of all depths")
    parser.add_argument("--device", help="that trains, as for `var train`")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    return parser


if __name__ == "__main__":
    # Under -P and PYTHONSAFEPATH, Python leaves out the script's folder, where the other parts lie.
    sys.path.append(str(Path(__file__).parent))
    sys.exit(main())
