"""`var sample-set`: the samples that a protocol asks for, drawn by any number of processes."""

from var.commands import model
from var.evaluation.sets.protocol_samples import sample_set_command

HELP = "draw the samples that a protocol asks for"
RESUMES = True

add_arguments, run = sample_set_command(model.add_arguments, model.load, paradigm="var")
