"""`python -m diffusion_baseline train-classifier`: from the command line's options to a run."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from diffusion_baseline.classifier.model import NoisyClassifier
from diffusion_baseline.classifier.presets import classifier_run
from diffusion_baseline.classifier.settings import NoisyClassifierRun
from diffusion_baseline.classifier.task import NoisyClassifierTask
from var.errors import UserError
from var.runs.cost import Cost, cost_of
from var.runs.evaluation import Evaluation, LossJudge
from var.runs.fine_tuning import check_fixed
from var.runs.job import Job, Prepared, check_given, configured, open_training_data
from var.runs.plan import Network, Plan
from var.runs.session import Session
from var.training import Task

FREE = ("class_names", "dropout")
"""Fields of a config that trained weights do not fix."""


@dataclass(frozen=True, kw_only=True)
class NoisyClassifierJob(Job[NoisyClassifierRun]):
    """Training of a classifier of noisy images, new or from `start`."""

    kind = "classifier"
    start: NoisyClassifier | None = None

    def __post_init__(self) -> None:
        check_given("classifier", self.settings.classifier, {"num_classes": self.shown.num_classes})
        if self.settings.classifier.class_names:
            raise UserError("classifier.class_names are given by the data, got some; leave them out")
        if self.start is not None:
            check_fixed("classifier", self.settings.classifier, self.start.config, FREE)
            before = self.start.config.class_names
            if before and before != self.shown_classes:
                raise UserError(f"--init must tell the classes of the data, got {before!r:.100}; leave it out")

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "NoisyClassifierJob":
        """As the options say; loads, for fine-tuning, the classifier to start from."""
        run = classifier_run(arguments.preset)
        start = None if arguments.init is None else NoisyClassifier.from_pretrained(arguments.init)
        if start is not None:
            run = replace(run, classifier=replace(start.config, class_names=(), dropout=run.classifier.dropout))
        preset, run = run.classifier, configured(run, arguments)
        data = open_training_data(arguments, (run.classifier.image_channels, *run.classifier.trunk.size), run.data)
        if run.classifier.num_classes == preset.num_classes:  # what the user gives stays, to be refused if it is wrong
            if len(data.classes) < 2:
                raise UserError(f"a classifier needs images of 2 classes or more, got {len(data.classes)}; give such")
            run = replace(run, classifier=replace(run.classifier, num_classes=len(data.classes)))
        return cls(settings=run, data=data, start=start, init=arguments.init)

    def plan(self, processes: int) -> Plan:
        """The run in numbers."""
        settings = self.settings
        with torch.device("meta"):
            classifier = NoisyClassifier(settings.classifier)
        networks, cost = (Network.of("classifier", classifier),), _cost(classifier, settings)
        return self.planned(classifier, processes, networks=networks, image_cost=cost)

    def prepare(self, session: Session) -> Prepared:
        """Build the classifier; it is judged by its loss on noisy images that are held out."""
        classifier = self.settings.model(self.shown_classes, seed=self.settings.training.seed)
        if self.start is not None:
            classifier.load_state_dict(self.start.state_dict())
        task = NoisyClassifierTask(classifier)
        judge = LossJudge.of(self.judged, self.settings.evaluation)

        def scores(model: nn.Module, _picture: Path) -> dict[str, float]:
            return judge.scores(task, model)

        return Prepared(task=task, data=self.data, evaluation=Evaluation(scores, judge.best))

    def save(self, task: Task, folder: Path) -> str:
        """Save the classifier."""
        assert isinstance(task, NoisyClassifierTask)
        task.model.save_pretrained(folder, card=self.card())
        return f"saved a NoisyClassifier: python -m diffusion_baseline generate --classifier {folder}"


def _cost(classifier: NoisyClassifier, settings: NoisyClassifierRun) -> Cost:
    """A training pass of one image; `classifier` is on the meta device."""
    config = classifier.config
    classifier.train().to(torch.bfloat16 if settings.training.mixed_precision == "bf16" else torch.float32)
    image = torch.zeros(1, config.image_channels, *config.trunk.size, device="meta")
    timestep = torch.zeros(1, dtype=torch.long, device="meta")
    return cost_of(classifier, lambda: classifier(image, timestep).square().mean())
