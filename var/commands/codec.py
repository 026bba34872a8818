"""`var codec`: the encoder and the decoder of a trained tokenizer, for diffusion in its continuous latent space."""

import argparse

from var.command_line.frame import file_path
from var.errors import UserError

HELP = "save the autoencoder within a trained tokenizer, for diffusion in its latent space"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "tokenizer", metavar="MODEL", help="the trained tokenizer: folder of its run, saved model, or official file"
    )
    parser.add_argument(
        "--output", type=file_path, required=True, metavar="FOLDER", help="a new folder, which --codec then names"
    )


def run(arguments: argparse.Namespace) -> None:
    """Save it."""
    if arguments.output.is_dir() and any(arguments.output.iterdir()):
        raise UserError(f"--output must be a new folder, but {arguments.output} holds files; choose another")
    from var.recipes.fine_tuning import load_tokenizer
    from var.vqvae import VQVAE, VQVAEConfig

    vqvae = load_tokenizer(arguments.tokenizer, VQVAEConfig().sides)
    if not isinstance(vqvae, VQVAE):
        raise UserError(
            f"only a VQVAE has an autoencoder within it, got a {type(vqvae).__name__} in {arguments.tokenizer}; "
            "name another"
        )
    vqvae.codec().save_pretrained(arguments.output)
    print(f"saved an Autoencoder: diffuse in its latent space with --codec {arguments.output}")
