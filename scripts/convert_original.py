"""Convert checkpoints of the official VAR code into a folder that this package loads.

    python scripts/convert_original.py VQVAE TRANSFORMER OUTPUT [--num-heads N] [--normalize-codes] [--sides 1,2,4]
                                       [--dtype bf16]

VQVAE and TRANSFORMER are .pth or .safetensors files; a training checkpoint, which holds both, may stand for either.
Afterwards `VARPipeline.from_pretrained(OUTPUT)` loads the pipeline.
"""

import argparse
import sys
from collections.abc import Sequence

from var.command_line.frame import CommandParser, file_path, guarded, parsed
from var.command_line.sampling_options import DTYPES
from var.errors import UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the conversion; returns the exit code: 0, 2 for a mistake of the user, 130 after Ctrl-C."""
    return guarded(
        "convert_original.py", lambda: _convert(_parser().parse_args(arguments)), interrupted="nothing was written"
    )


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="convert_original.py", description="Convert checkpoints of the official VAR code into a folder."
    )
    parser.add_argument("vqvae", type=file_path, help="the tokenizer: vae_ch160v4096z32.pth, or a training checkpoint")
    parser.add_argument("transformer", type=file_path, help="the transformer: var_d16.pth, or a training checkpoint")
    parser.add_argument("output", type=file_path, help="the folder to write, new or empty")
    parser.add_argument("--num-heads", type=int, help="of a transformer without L2-normalised attention")
    parser.add_argument("--normalize-codes", action="store_true", help="the tokenizer looks codes up by cosine")
    parser.add_argument(
        "--sides", type=parsed(_sides), help="of the token maps, as 1,2,4, if the file does not tell them"
    )
    parser.add_argument("--dtype", choices=DTYPES, default="fp32", help="of the weights written (default fp32)")
    parser.add_argument("--no-progress", action="store_true", help="show no progress bar")
    return parser


def _sides(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(side) for side in text.split(","))
    except ValueError:
        raise UserError(f"--sides must be whole numbers such as 1,2,4, got {text!r:.100}; correct them") from None


def _convert(options: argparse.Namespace) -> None:
    output = options.output
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"the output must be a new or an empty folder, got {output}; choose another place")
    # Imported here, so that --help and mistakes are answered at once.
    import torch

    from var import VARPipeline
    from var.files import atomic_folder, sweep

    if output.parent.is_dir():  # what killed conversions left there is as large as a model
        sweep(output.parent, lambda name: name == output.name)
    pipe = VARPipeline.from_original(
        options.vqvae,
        options.transformer,
        num_heads=options.num_heads,
        normalize_codes=options.normalize_codes,
        sides=options.sides,
        dtype=getattr(torch, DTYPES[options.dtype]),
        progress=not options.no_progress,
    )
    with atomic_folder(output, replace=False) as temporary:
        pipe.save_pretrained(temporary)
    config = pipe.transformer.config
    count = sum(parameter.numel() for parameter in pipe.transformer.parameters()) / 1e6
    print(
        f"{output}: depth {config.depth}, width {config.width}, {config.heads} heads, {count:.1f} M parameters, sides "
        f"{','.join(map(str, config.sides))}, {config.num_classes} classes, {options.dtype}"
    )


if __name__ == "__main__":
    sys.exit(main())
