"""A run's folder is taken by one run, and says what differs from it."""

import json
import os
from dataclasses import replace

import pytest
import yaml

from var.errors import UserError
from var.recipes.vqvae.losses import VQVAELosses
from var.recipes.vqvae.settings import VQVAERun
from var.runs.folder import RunFolder
from var.runs.settings import DataSettings, EvaluationSettings, RunSettings
from var.training import TrainingConfig

SETTINGS = RunSettings(
    training=TrainingConfig(steps=10, log_every=5),
    data=DataSettings(source="a"),
    evaluation=EvaluationSettings(every=3),
)
FACTS = {"data": {"images": 7, "shape": (1, 8, 8)}, "versions": {"torch": "1"}}


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.compare("vqvae", SETTINGS, FACTS)
    folder.claim("vqvae", SETTINGS, FACTS)
    return folder


def changed(group, **values):
    return replace(SETTINGS, **{group: replace(getattr(SETTINGS, group), **values)})


def test_the_same_run_may_go_on(folder):
    folder.compare("vqvae", SETTINGS, FACTS)
    folder.compare("vqvae", SETTINGS, {**FACTS, "versions": {"torch": "2"}})


@pytest.mark.parametrize(
    "other",
    [
        changed("training", log_every=1),
        changed("training", steps=20),
        changed("data", source="b"),
        changed("evaluation", every=9),
    ],
)
def test_what_does_not_change_the_result_may_change(folder, other):
    folder.compare("vqvae", other, FACTS)


@pytest.mark.parametrize(
    ("settings", "facts", "message"),
    [
        (
            changed("training", seed=1),
            FACTS,
            r"training.seed was 0, now 1; set them back, or",
        ),
        (changed("data", flip=0.5), FACTS, r"data.flip was 0.0, now 0.5"),
        (SETTINGS, {**FACTS, "data": {"images": 8, "shape": (1, 8, 8)}}, r"data.images was 7, now 8"),
        (SETTINGS, {**FACTS, "init": "x"}, r"init was 'not there', now 'x'"),
    ],
)
def test_what_changes_the_result_is_named(folder, settings, facts, message):
    with pytest.raises(UserError, match=message):
        folder.compare("vqvae", settings, facts)


def test_published_weights_may_lie_elsewhere_now(tmp_path):
    folder, run = RunFolder(tmp_path / "run"), VQVAERun(training=SETTINGS.training)
    folder.claim("vqvae", run, FACTS)
    folder.compare("vqvae", replace(run, losses=VQVAELosses(dino_weights="moved", lpips_vgg16="a.pth")), FACTS)
    with pytest.raises(UserError, match=r"losses.perceptual was 0.0, now 1.0"):
        folder.compare("vqvae", replace(run, losses=VQVAELosses(perceptual=1.0)), FACTS)


def test_only_who_began_a_run_makes_its_folder_new_again(folder):
    """Another start may find what was prepared, and has nothing to take back."""
    again = RunFolder(folder.path)
    again.claim("vqvae", SETTINGS, FACTS)
    again.release()
    assert again.settings.exists()
    (folder.path / "texts").mkdir()
    folder.listing.write_text("{}")
    folder.release()
    assert list(folder.path.iterdir()) == [folder.listing]
    folder.check_place()


def test_another_kind_of_run_is_refused(folder):
    with pytest.raises(UserError, match="must hold a run of kind 'transformer', got 'vqvae'"):
        folder.compare("transformer", SETTINGS, FACTS)


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "holiday.png").write_text("")
    with pytest.raises(UserError, match="must be a new folder or that of a run"):
        RunFolder(tmp_path).compare("vqvae", SETTINGS, FACTS)
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.png"]


def test_what_a_killed_start_left_half_written_is_no_stranger_and_goes(tmp_path):
    gone = 2**22 + 1  # above any process number that Linux gives
    left = [tmp_path / f".{name}.{gone}.tmp" for name in ("listing.json", "run.yaml")]
    own = tmp_path / f".log.{os.getpid()}.tmp"
    for path in (*left, own):
        path.write_text("")
    folder = RunFolder(tmp_path)
    folder.compare("vqvae", SETTINGS, FACTS)
    folder.claim("vqvae", SETTINGS, FACTS)
    assert set(tmp_path.iterdir()) == {own, folder.settings}


def test_comparing_writes_nothing(tmp_path):
    RunFolder(tmp_path / "run").compare("vqvae", SETTINGS, FACTS)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_says_so_and_goes_on_to_more_steps_only(folder):
    assert not folder.check_steps(10)
    folder.finish({"steps": 10})
    assert json.loads(folder.finished.read_text()) == {"steps": 10}
    assert folder.check_steps(10)
    assert not folder.check_steps(20)
    (folder.checkpoints / "step-15").mkdir(parents=True)
    assert folder.check_steps(10)  # the model in the folder is still the one of 10 steps
    assert not folder.check_steps(15)
    for steps, done in ((14, 15), (9, 15)):
        with pytest.raises(UserError, match=f"has {done} steps, got training.steps={steps}; ask for {done} or more"):
            folder.check_steps(steps)


RECORDS = ['{"steps": "x"}', '{"steps": true}', '{"steps": null}', '{"steps": 2.0}', "[1]", "{", "", "[" * 100_000]
RECORDS += ['{"steps": NaN}', '{"steps": 1e999}', "{}", '{"steps": 2, "steps": 2}']


@pytest.mark.parametrize("record", RECORDS, ids=range(len(RECORDS)))
def test_a_damaged_record_of_the_end_is_set_aside(folder, caplog, record):
    folder.finished.write_text(record)
    assert not folder.check_steps(2)
    assert f"{folder.finished} cannot be used, and is kept as {folder.finished}.damaged" in caplog.text
    assert folder.path.joinpath("finished.json.damaged").read_text() == record
    assert not folder.finished.exists()


def test_the_listing_of_the_data_may_be_there_before_the_run(tmp_path):
    folder = RunFolder(tmp_path)
    folder.listing.write_text("{}")
    folder.compare("vqvae", SETTINGS, FACTS)


def test_a_run_that_is_too_old_to_know_a_setting_had_its_default(folder):
    saved = yaml.safe_load(folder.settings.read_text())
    del saved["data"]["crop"], saved["checkpoints"]
    folder.settings.write_text(yaml.safe_dump(saved))
    folder.compare("vqvae", SETTINGS, FACTS)
    with pytest.raises(UserError, match=r"data.crop was 1.0, now 1.125"):
        folder.compare("vqvae", changed("data", crop=1.125), FACTS)
