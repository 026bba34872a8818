"""Model cards: what a model's page on the Hub says, with the front matter that the Hub reads."""

import inspect
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module

from var import checks
from var.errors import UserError
from var.names import in_markdown, received, shown


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What the page of a model says beside what follows from its class."""

    license: str | None = "mit"  # the Hub's name of a licence, such as "apache-2.0" or "cc-by-nc-4.0"; None: not known
    tags: tuple[str, ...] = ()  # besides "image-generation" and the name of the class
    dataset: str | None = None  # what it was trained and measured on
    data_licence: str | None = None  # the terms of these images, such as "CC BY-SA 4.0"
    attribution: str | None = None  # what their makers ask to be said
    metrics: Mapping[str, float] = field(default_factory=dict)  # by name: {"FD-digits": 0.16}
    description: str = ""  # Markdown, below the title
    call: str = ""  # the arguments of the example's call; without, two images of what the pipeline takes
    task: str = ""  # the Hub's name of the task that the metrics judge; without, it follows from the example's call

    def __post_init__(self) -> None:
        checks.fields(self)
        if not isinstance(self.metrics, Mapping):
            raise UserError(f"metrics must be numbers by name, got {received(self.metrics)}; give a dict")
        for name, value in (("license", self.license), ("task", self.task or None)):
            if value is not None and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", value):
                raise UserError(
                    f"{name} must be a name that the Hub knows, such as 'mit', got {received(value)}; correct it"
                )
        if not all(tag.strip() for tag in self.tags):
            raise UserError(f"tags must be a tuple of texts, got {received(self.tags)}; correct them")
        for name, value in self.metrics.items():
            if not isinstance(name, str) or type(value) not in (float, int) or not math.isfinite(value):
                raise UserError(f"metrics must be finite numbers, got {name} = {received(value)}; leave it out")
        if self.metrics and not self.dataset:
            raise UserError("metrics need the dataset on which they were measured, got none; pass dataset as well")


def card_text(card: ModelCard, cls: type, place: str, asked: str = "class_labels=[0, 1]") -> str:
    """The README.md of a model of class `cls` that is loaded from `place`, a Hub id or the name of a folder.

    `asked` is what a call of it asks for, as Python.
    """
    title, usage = place.rpartition("/")[2], _usage(card, cls, place, asked)
    in_words = _is_pipeline(cls) and re.search(r"\bprompt=", card.call or asked) is not None
    task = card.task or ("text-to-image" if in_words else "unconditional-image-generation")
    parts = [f"---\n{_front_matter(card, cls, title, task)}\n---", f"# {in_markdown(title)}", _prose(card.description)]
    if card.dataset:
        terms = f", whose images are licensed {in_markdown(card.data_licence)}" if card.data_licence else ""
        parts.append(f"Trained on {in_markdown(card.dataset)}{terms}. {_prose(card.attribution or '')}".strip())
    package = '"next-scale[text]"' if in_words else "next-scale"
    parts.append(f"```python\n# pip install {package}\n{usage}\n```")
    if card.metrics:
        rows = [f"| {in_markdown(name)} | {value:g} |" for name, value in card.metrics.items()]
        parts.append("\n".join((f"| metric | on {in_markdown(card.dataset)} |", "|---|---|", *rows)))
    return "\n\n".join(part for part in parts if part) + "\n"


def licence_id(licence: str | None) -> str | None:
    """The Hub's name of a licence as people write it: "CC BY-SA 4.0" is "cc-by-sa-4.0"; "other" for what has none."""
    if licence is None or "," in licence:
        return licence and "other"
    return re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-.") or "other"


def moved(text: str, place: str) -> str:
    """The page `text` of a model for another `place`: its title, and from where it is loaded."""
    title, call = f"# {in_markdown(place.rpartition('/')[2])}", f"from_pretrained({_python_text(place)})"
    loaded = re.sub(r'from_pretrained\("(?:[^"\\\n]|\\.)*"\)', lambda _: call, text)
    return re.sub(r"^# .*$", lambda _: title, loaded, count=1, flags=re.MULTILINE)


def _front_matter(card: ModelCard, cls: type, title: str, task: str) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type=task,
            dataset_type=_slug(card.dataset or ""),
            dataset_name=shown(card.dataset or ""),
            metric_type=_slug(name),
            metric_name=shown(name),
            metric_value=value,
        )
        for name, value in card.metrics.items()
    ]
    data = ModelCardData(
        library_name="next-scale",
        license=card.license,
        tags=list(dict.fromkeys(("image-generation", cls.__name__, *map(shown, card.tags)))),
        pipeline_tag=task if _is_pipeline(cls) else None,
        model_name=shown(title) if results else None,
        eval_results=results or None,
    )
    return data.to_yaml().strip()


def _prose(markdown: str) -> str:
    """Markdown of the card's author, without HTML and without characters that are not seen."""
    text = "".join(each if each in "\n\t" or each.isprintable() else " " for each in markdown.strip())
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)


def _python_text(text: str) -> str:
    """A literal of Python that stands for `text`, on one line."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(each if each.isprintable() else ascii(each)[1:-1] for each in escaped) + '"'


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def _is_pipeline(cls: type) -> bool:
    return "class_labels" in inspect.signature(cls.__call__).parameters


def _usage(card: ModelCard, cls: type, place: str, asked: str) -> str:
    """Python that loads the model, and that generates with it if it can."""
    package = cls.__module__.partition(".")[0]
    home = package if getattr(import_module(package), cls.__name__, None) is cls else cls.__module__
    variable = "pipeline" if _is_pipeline(cls) else "model"
    lines = [
        f"from {home} import {cls.__name__}",
        "",
        f"{variable} = {cls.__name__}.from_pretrained({_python_text(place)})",
    ]
    if _is_pipeline(cls):
        lines.append(f"images = pipeline({card.call or f'{asked}, seeds=[0, 1]'}).images")
    return "\n".join(lines)
