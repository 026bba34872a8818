"""Overrides: typed, checked, suggested; files and assignments in their order."""

from dataclasses import dataclass, field
from typing import Literal

import pytest

from var.configs import added
from var.errors import UserError
from var.hub.layout import RUN_FILE
from var.runs.overrides import (
    differences,
    overridden,
    read_settings,
    settings_from_dict,
    settings_to_dict,
    write_settings,
)
from var.scales import Side


@dataclass(frozen=True, kw_only=True)
class Inner:
    steps: int = 10
    rate: float = 0.5
    fast: bool = False
    name: str = "a"
    limit: float | None = None
    kind: Literal["x", "y"] = "x"
    phi: int | Literal["per-scale"] = 4
    sides: tuple[Side, ...] = (1, 2)
    repeats: tuple[int, ...] = added((), of="sides")
    betas: tuple[float, float] = (0.9, 0.99)

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UserError(f"steps must be at least 1, got {self.steps}; raise it")


@dataclass(frozen=True, kw_only=True)
class Outer:
    training: Inner = field(default_factory=Inner)
    model: Inner = field(default_factory=Inner)
    drop: float = 0.1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("steps=7", 7),
        ("steps=1e5", 100_000),
        ("steps=2_000", 2000),
        ("rate=1e-4", 1e-4),
        ("rate=3", 3.0),
        ("fast=true", True),
        ("fast=False", False),
        ("name=12", "12"),
        ("name=none", "none"),
        ("limit=none", None),
        ("limit=2.5", 2.5),
        ("kind=y", "y"),
        ("phi=3", 3),
        ("phi=per-scale", "per-scale"),
        ("sides=1,3,4", (1, 3, 4)),
        ("sides=(1, (1, 2), 2)", (1, (1, 2), 2)),
        ("sides=[5]", (5,)),
        ("betas=0.5,1", (0.5, 1.0)),
    ],
)
def test_an_assignment_is_read_as_its_field_wants_it(text, value):
    changed = overridden(Outer(), assignments=[f"training.{text}"])
    found = getattr(changed.training, text.partition("=")[0])
    assert found == value
    assert type(found) is type(value)
    assert changed.model == Inner()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("training.stesp=7", r"unknown setting 'training.stesp'; did you mean 'training.steps'"),
        ("steps=7", r"unknown setting 'steps'; did you mean 'training.steps' or 'model.steps'\?"),
        ("training=7", r"unknown setting 'training'; did you mean"),
        ("drop.x=7", r"unknown setting 'drop.x'"),
        ("training.steps=7.5", r"training: field 'steps' must be a whole number, got '7.5'"),
        ("training.steps=many", r"field 'steps' must be a whole number, got 'many'"),
        ("training.rate=nan", r"field 'rate' must be a finite number, got 'nan'"),
        ("training.fast=1", r"field 'fast' must be True or False, got '1'"),
        ("training.kind=z", r"field 'kind' must be one of 'x', 'y', got 'z'"),
        ("training.betas=0.5", r"field 'betas' must be a list"),
        ("training.steps=0", r"steps must be at least 1, got 0"),
        ("training.steps", r"must be written name=value, got 'training.steps'"),
        ("=3", r"must be written name=value"),
    ],
)
def test_a_wrong_assignment_is_explained_in_one_line(text, message):
    with pytest.raises(UserError, match=message) as error:
        overridden(Outer(), assignments=[text])
    assert f"--set {text}" in str(error.value) or "name=value" in str(error.value)
    assert "\n" not in str(error.value)


def test_files_come_before_assignments_and_later_ones_win(tmp_path):
    (tmp_path / "a.yaml").write_text(
        "training: {rate: 1e-4, steps: 1e3, sides: [1, [1, 2]]}\ndrop: 1\nmodel:\n  limit: 2"
    )
    (tmp_path / "b.json").write_text('{"training": {"steps": 30}, "model": {"limit": null, "fast": true}}')
    files = [tmp_path / "a.yaml", tmp_path / "b.json"]
    changed = overridden(Outer(), files=files, assignments=["training.rate=0.25", "training.rate=0.125"])
    assert changed.training == Inner(rate=0.125, steps=30, sides=(1, (1, 2)))
    assert changed.model == Inner(fast=True)
    assert changed.drop == 1.0


def test_the_text_1e_minus_4_is_a_number_in_yaml(tmp_path):
    (tmp_path / "a.yaml").write_text("training:\n  rate: 1e-4\n")
    assert overridden(Outer(), files=[tmp_path / "a.yaml"]).training.rate == 1e-4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("training: {steps: 1", "must be readable YAML"),
        ("- 1\n- 2", "must hold names with values, got a list"),
        ("1: 2", "a name must be a text, got .1."),
        ("training: {setps: 1}", "unknown setting 'training.setps'; did you mean 'training.steps'"),
        ("training: {name: 3}", "field 'name' must be a text, got 3"),
        ("training: {rate: .nan}", "field 'rate' must be a finite number, got '.nan'"),
    ],
)
def test_a_wrong_file_is_named(tmp_path, content, message):
    path = tmp_path / "wrong.yaml"
    path.write_text(content)
    with pytest.raises(UserError, match=message) as error:
        overridden(Outer(), files=[path])
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="missing"):
        read_settings(tmp_path / "none.yaml")


def test_settings_return_from_a_file_unchanged(tmp_path):
    settings = Outer(training=Inner(rate=1e-7, sides=(1, (2, 3)), limit=None, steps=2**60), drop=0.3)
    write_settings(tmp_path / RUN_FILE, {"run": {"kind": "vqvae"}, **settings_to_dict(settings)})
    assert overridden(Outer(drop=9.0), files=[tmp_path / RUN_FILE]) == settings
    values = read_settings(tmp_path / RUN_FILE)
    assert values.pop("run") == {"kind": "vqvae"}
    assert settings_from_dict(Outer, values) == settings


def test_dictionaries_may_leave_fields_out_but_not_add_any():
    assert settings_from_dict(Outer, {"training": {"steps": 3}}) == Outer(training=Inner(steps=3))
    with pytest.raises(UserError, match="training: Inner has no field 'stesp'; did you mean 'steps'"):
        settings_from_dict(Outer, {"training": {"stesp": 3}})
    with pytest.raises(UserError, match="Outer has no field 'dorp'"):
        settings_from_dict(Outer, {"dorp": 3})


def test_differences_name_the_fields():
    before = settings_to_dict(Outer())
    after = settings_to_dict(Outer(training=Inner(steps=20), drop=0.2))
    assert differences(before, before) == []
    assert differences(before, after) == ["training.steps was 10, now 20", "drop was 0.1, now 0.2"]
    del before["drop"]
    assert differences(before, after)[-1] == "drop was 'not there', now 0.2"


def test_what_says_more_of_a_setting_goes_back_to_its_default_with_it(tmp_path):
    start = Outer(training=Inner(sides=(1, 2), repeats=(2, 4)))
    assert overridden(start, assignments=["training.steps=3"]).training.repeats == (2, 4)
    assert overridden(start, assignments=["training.sides=(1,2,3)"]).training.repeats == ()
    both = ["training.repeats=(1,2,1)", "training.sides=(1,2,3)"]
    assert overridden(start, assignments=both).training.repeats == (1, 2, 1)
    # The file of a run from before there were repeats says none.
    values = settings_to_dict(Outer())
    del values["training"]["repeats"]
    write_settings(tmp_path / RUN_FILE, values)
    assert overridden(start, files=[tmp_path / RUN_FILE]) == Outer()
