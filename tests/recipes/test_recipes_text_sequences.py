"""Training with attention to the pieces of captions: what is kept, whole runs of both kinds, prompts afterwards."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_transformer, tiny_vqvae, unet_config
from tiny_text import LetterEncoder
from vector_runs import ATTENDING, COUNT, UNET, WIDTH, some_images

from diffusion_baseline import DiffusionPipeline
from diffusion_baseline.job import DiffusionJob
from diffusion_baseline.presets import diffusion_run
from var import VARPipeline
from var.data.texts import with_texts
from var.errors import UserError
from var.recipes.transformer.job import TransformerJob
from var.recipes.transformer.presets import transformer_run
from var.runs.carrying_out import carry_out
from var.runs.folder import RunFolder
from var.runs.session import Session
from var.runs.settings import DataSettings, EvaluationSettings
from var.text import TextFeatures
from var.text.encoders import PIECES
from var.training import TrainingConfig
from var.training.distributed import Processes
from var.training.signals import StopSignals

CAPTIONS = ["a big cab " + "abcdef"[index % 6] * (1 + index % 4) for index in range(COUNT)]


class Speller(LetterEncoder):
    """A piece for each letter."""

    def __call__(self, texts, *, sequences=False):
        vectors = super().__call__(texts).vectors
        if not sequences:
            return TextFeatures(vectors)
        rows = [torch.tensor([[float(letter == each) for each in "abcdef"] for letter in text]) for text in texts]
        padded = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return TextFeatures(vectors, padded, torch.arange(padded.shape[1]) < torch.tensor([[len(row)] for row in rows]))


@pytest.fixture(scope="module")
def data():
    images = some_images()
    images.captions = CAPTIONS
    return images


def shown(run):
    """The settings of a quick run that attends to captions."""
    training = TrainingConfig(steps=2, batch_size=8, log_every=1)
    evaluation = EvaluationSettings(every=2, samples=10, grid=4, judge_steps=2)
    return replace(run, training=training, evaluation=evaluation, data=DataSettings(text="letters", text_sequence=True))


def transformer_job(data):
    settings = shown(transformer_run("digits"))
    model = tiny_transformer(vector_width=WIDTH, sequence_width=WIDTH).config
    return TransformerJob(
        settings=replace(settings, transformer=model), data=data, vqvae=tiny_vqvae(), encoder=Speller()
    )


def diffusion_job(data):
    unet = unet_config(**UNET | ATTENDING["diffusion"])
    settings = replace(shown(diffusion_run("digits")), unet=unet, num_timesteps=8, sampling_steps=2)
    return DiffusionJob(settings=settings, data=data, encoder=Speller())


JOBS = {"transformer": (transformer_job, VARPipeline), "diffusion": (diffusion_job, DiffusionPipeline)}


def test_pieces_are_kept_in_16_bits_as_far_as_models_attend(data, tmp_path):
    found = with_texts(data, Speller(), sequences=True, folder=tmp_path, progress=False)
    shown = found.condition(torch.tensor([3, 0]))
    read = Speller()([CAPTIONS[3], CAPTIONS[0]], sequences=True)
    length = read.sequence.shape[1]
    assert torch.equal(shown.sequence[:, :length], read.sequence.half())
    assert torch.equal(shown.sequence_mask[:, :length], read.mask)
    assert not shown.sequence_mask[:, length:].any()
    (file,) = tmp_path.iterdir()
    assert load_file(file)["sequence"].dtype == torch.float16
    assert with_texts(data, Speller(), sequences=True, folder=tmp_path, progress=False).identity() == found.identity()
    assert with_texts(data, Speller(), folder=tmp_path, progress=False).sequence is None
    assert len(list(tmp_path.iterdir())) == 2
    long = Speller()(["ab" * PIECES], sequences=True).attended()
    assert long.sequence.shape[1] == long.mask.shape[1] == PIECES


@pytest.mark.parametrize(
    ("job_of", "pipeline"),
    [(transformer_job, VARPipeline), (diffusion_job, DiffusionPipeline)],
    ids=["var", "diffusion"],
)
def test_a_whole_run_and_prompts_afterwards(job_of, pipeline, data, tmp_path, capsys):
    session = Session(
        folder=RunFolder(tmp_path / "run"), processes=Processes("cpu"), progress=False, workers=0, trackers=()
    )
    with StopSignals() as signals:
        carry_out(job_of(data), session, signals)
    assert "(vectors of width 6, sequences of width 6)" in capsys.readouterr().out
    pipe = pipeline.from_pretrained(tmp_path / "run")
    pipe.text_encoder = Speller()
    call = {"seeds": [0, 1], "guidance_scale": 2.0, "output_type": "pt", "progress": False}
    condition = with_texts(data, Speller(), labels=False, sequences=True, progress=False).condition(torch.arange(2))
    assert torch.equal(pipe(prompt=CAPTIONS[:2], **call).images, pipe(condition, **call).images)


def test_settings_that_do_not_fit(data):
    with pytest.raises(UserError, match=r"text_sequence needs a text to attend to, got none; set data\.text too"):
        DataSettings(text_sequence=True)
    job, plain = transformer_job(data), Speller()
    plain.sequence_width = 0
    with pytest.raises(UserError, match=r"data\.text_sequence needs sequences, got 'letters', which has none"):
        replace(job, encoder=plain)
    other = replace(job.settings, data=DataSettings(text="letters"))
    with pytest.raises(UserError, match=r"transformer\.sequence_width is given by the data, 0, got 6; leave it out"):
        replace(job, settings=other)
