"""Which class of a judge each image of a set was asked to show: by what its file says, never by its position."""

import re
from collections import defaultdict
from collections.abc import Sequence

import torch
from jaxtyping import Int64
from torch import Tensor

from var.evaluation.sets.records import Record
from var.evaluation.sets.samples import SampleSet
from var.names import shown
from var.sampling.labels import _plain as plain_name
from var.sampling.work import class_folder, class_word

Found = tuple[Int64[Tensor, " n"] | None, str | None]
"""Labels of a judge's classes, and the caution where there are none though the set says something of classes."""


def class_labels(one: SampleSet, classes: int, names: Sequence[str] | None) -> Found:
    """The labels of a set's images among `classes` of a judge, which may have `names`, synonyms split by commas.

    What an image records of its class comes first: its label, or, where judge and model both name their classes, the
    class of that name. Then its folder: the name of a class, or "LABEL-NAME" as `var generate` writes it. If one image
    is left without a class, there are no labels, and the caution says why.
    """
    if not one.files:  # an npz says it by numbers
        return one.labels, None
    table = _Classes(classes, names)
    labels: list[int | None] = []
    reason = ""
    for place in range(one.count):
        record = one.records[place] if one.records else None
        folder = one.folders[place] if one.folders else None
        if record is not None and record.label is not None:
            labels.append(table.of_record(record.label, record.name))
            unknown = f"the class {shown(record.name)!r} of {shown(one.files[place].name)} is none of the judge's"
        else:
            labels.append(None if folder is None else table.of_folder(folder))
            unknown = _silent(one, place)
        reason = reason or ("" if labels[-1] is not None else unknown)
    if None not in labels:
        return torch.tensor(labels, dtype=torch.int64), None
    says_nothing = not one.folders and all(record is None or record.label is None for record in one.records)
    return None, None if says_nothing else f"Class consistency: not measured in {shown(one.path)}, since {reason}."


def tells_classes(one: SampleSet) -> bool:
    """Whether anything in the set says which classes its images show."""
    return one.labels is not None or bool(one.folders) or any(_has_label(record) for record in one.records)


def _has_label(record: Record | None) -> bool:
    return record is not None and record.label is not None


def _silent(one: SampleSet, place: int) -> str:
    if one.folders:
        return f"the folder {shown(one.folders[place])!r} has no name of the judge's classes"
    return f"{shown(one.files[place].name)} does not record its class, as others do"


class _Classes:
    """The classes of a judge, found by what others call them."""

    def __init__(self, count: int, names: Sequence[str] | None) -> None:
        self.count = count
        self.names = names
        self._numbers = {class_folder(label, str(label), count): label for label in range(count)}
        self._exact, self._synonyms, self._words = (defaultdict[str, set[int]](set) for _ in range(3))
        for label, name in enumerate(names or ()):
            self._exact[name].add(label)
            for synonym in _synonyms(name):
                self._synonyms[synonym].add(label)
                self._words[class_word(synonym)].add(label)
        self._found: dict[str, int | None] = {}

    def of_record(self, label: int, name: str | None) -> int | None:
        """The judge's class of what a model called `label` and `name`."""
        if self.names is None or name is None or name == str(label):
            return label
        if label < self.count and _synonyms(name) & _synonyms(self.names[label]):
            return label
        return _single(set().union(*(self._synonyms.get(each, set()) for each in _synonyms(name))))

    def of_folder(self, folder: str) -> int | None:
        """The judge's class that a folder is named after."""
        if folder not in self._found:
            self._found[folder] = self._of_folder(folder)
        return self._found[folder]

    def _of_folder(self, folder: str) -> int | None:
        for table, key in ((self._exact, folder), (self._synonyms, plain_name(folder))):
            if key in table:
                return _single(table[key])
        ours = re.fullmatch(r"(?P<number>\d+)(-(?P<word>[a-z0-9]+(-[a-z0-9]+)*))?", folder, re.ASCII)
        if ours is None:
            return None
        label = self._numbers.get(ours["number"])
        if self.names is None or ours["word"] is None:
            return label
        # A model may number its classes in another order than the judge: the word tells, the number where it is double.
        known = self._words.get(ours["word"], set())
        return label if label in known else _single(known)


def _single(labels: set[int]) -> int | None:
    return next(iter(labels)) if len(labels) == 1 else None


def _synonyms(name: str) -> set[str]:
    return {plain_name(part) for part in name.split(",")} - {""}
