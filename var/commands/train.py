"""`var train`: the tokenizer, then the transformer, then the decoder, or an autoencoder, on one's own images."""

import argparse

from var.command_line.run_options import RESUMES, add_run_arguments

HELP = "train a tokenizer, a transformer, a decoder or an autoencoder, or go on with it"

__all__ = ["HELP", "RESUMES", "add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stages and their options."""
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    text = "train the multi-scale tokenizer"
    add_run_arguments(stages.add_parser("vqvae", help=text, description=text), "digits, shapes-32, imagenet-256")
    text = "train an autoencoder, in whose latent space others diffuse"
    add_run_arguments(stages.add_parser("autoencoder", help=text, description=text), "digits, shapes-32")
    text = "train the transformer on the tokens of a trained tokenizer"
    transformer = stages.add_parser("transformer", help=text, description=text)
    add_run_arguments(transformer, "digits, shapes-32, d16")
    transformer.add_argument(
        "--vqvae",
        "--tokenizer",
        metavar="MODEL",
        help="the trained tokenizer: folder of its run, saved model, or official file",
    )
    transformer.add_argument("--variant", help="which of the published models --init means, for example d16")
    text = "train the decoder of a trained model (--init) on tokens that its transformer draws"
    add_run_arguments(stages.add_parser("decoder", help=text, description=text), "emoji-32")


def run(arguments: argparse.Namespace) -> None:
    """Train, or go on, or show the plan."""
    from var.runs.carrying_out import train_command

    if arguments.stage == "vqvae":
        from var.recipes.vqvae.job import VQVAEJob as StageJob
    elif arguments.stage == "autoencoder":
        from var.recipes.autoencoder.job import AutoencoderJob as StageJob
    elif arguments.stage == "decoder":
        from var.recipes.decoder.job import DecoderJob as StageJob
    else:
        from var.recipes.transformer.job import TransformerJob as StageJob
    train_command(arguments, StageJob.of)
