"""A family of models is one file and one entry: nothing else in the comparison speaks of one."""

import ast
import re
from dataclasses import replace
from pathlib import Path

import pytest
from comparison.contenders import CONTENDERS, Contender, chosen_models
from comparison.families import FAMILIES
from tiny import tiny_diffusion_pipeline, tiny_pipeline

from diffusion_baseline.sampling_settings import SamplingSettings
from var.data import digits, shapes
from var.errors import UserError
from var.recipes.transformer.presets import transformer_run

COMPARISON = Path(__file__).parents[2] / "scripts" / "comparison"
FILES = sorted(path for path in COMPARISON.rglob("*.py") if path.parent.name not in ("contenders", "families"))
WORD = re.compile(r"(?<![A-Za-z])(?:VAR|diffusion|ddim|ddpm|next-scale|u-?net|transformer)(?![a-z])", re.IGNORECASE)


def words_of(path):
    """Names in the code and its texts, docstrings and imports of the package `var` left out."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        yield from (word for field in ("id", "attr", "arg", "name") if isinstance(word := getattr(node, field, 0), str))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.value
        if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith(("var.", "comparison")):
            yield node.module or ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(COMPARISON).as_posix())
def test_it_names_no_model(path):
    allowed = ("var.training", "`var train`")  # what processes load, and a command
    found = [word for word in words_of(path) if WORD.search(word) and not any(each in word for each in allowed)]
    assert not found


def test_every_entry_is_whole():
    for key, contender in FAMILIES.items():
        assert isinstance(contender, Contender)
        assert contender.key == key
        assert contender.title.lower() == contender.word.lower()
        assert contender.samplers
        for preset in contender.presets():
            assert len(contender.preset_shape(preset)) == 3


def test_models_are_chosen_by_name():
    assert chosen_models([]) == list(CONTENDERS)
    assert chosen_models(["diffusion", "var"]) == ["var", "diffusion"]
    kinds = {"gan-hinge", "gan-wasserstein"}
    assert {*FAMILIES} - {*chosen_models([], FAMILIES)} == kinds, "these are compared where they are named"
    assert kinds < {*chosen_models(["gan", *kinds], FAMILIES)}
    with pytest.raises(UserError, match="unknown model 'gan'"):
        chosen_models(["gan"])


def test_rows_tell_how_steps_are_spaced_where_it_is_not_as_usual():
    diffusion, row = CONTENDERS["diffusion"], {"sampler": "ddim", "steps": 50, "guidance_scale": 1.0}
    assert diffusion.told(SamplingSettings()) == {}
    row |= diffusion.told(SamplingSettings(spacing="tapered"))
    assert (diffusion.row_title(row), diffusion.mark_title(row)) == ("DDIM-50-tapered g=1", "50 g=1")
    assert diffusion.mark_title({**row, "sampler": "dpmpp"}) == "DPM++-50 g=1"


def test_guidance_by_scale_is_refused():
    run = transformer_run("digits")
    by_scale = replace(run, sampling=replace(run.sampling, guidance_scale=(1.0,) * len(run.transformer.sides)))
    with pytest.raises(UserError, match=r"one number, but a run was set to one for each scale, \[1.0, "):
        CONTENDERS["var"].plan_of(None, by_scale)


def test_a_pipeline_without_a_run_is_compared_as_it_recommends():
    for key, pipeline in (("var", tiny_pipeline()), ("diffusion", tiny_diffusion_pipeline())):
        guidance = []
        for recommended in (None, {"guidance_scale": 3.5}):
            pipeline.sampling = recommended
            guidance.append(CONTENDERS[key].plan_of(pipeline, None).headline.guidance_scale)
        assert guidance == [1.5, 3.5]


def test_raster_order_learns_from_all_of_its_one_map():
    """What a preset says of the steps of its own maps, as emoji-32 and shapes-text-32 do, is not of another's."""
    run = FAMILIES["raster"].plan("emoji-32", shapes("train", length=20)).runs["transformer"]
    assert (run.tokens.kept, run.map_weights) == (0, ())
    assert len(run.transformer.schedule) == 1


def test_tokens_are_encoded_beforehand_where_that_is_less_than_what_is_looked_at():
    data = {"digits": digits("train"), "many": shapes("train"), "few": shapes("train", length=100)}
    plans = {name: FAMILIES["raster"].plan("digits" if name == "digits" else "shapes-32", data[name]) for name in data}
    found = {name: plan.runs["transformer"].tokens.cached for name, plan in plans.items()}
    assert found == {"digits": True, "many": False, "few": True}


def test_evaluations_are_counted_by_the_settings_of_each_paradigm():
    plans = {
        "var": CONTENDERS["var"].plan("shapes-32", shapes("train")),
        "diffusion": CONTENDERS["diffusion"].plan("shapes-32", shapes("train")),
    }

    def counted(model, **changes):
        plan = plans[model]
        return CONTENDERS[model].setting(replace(plan.headline, guidance_scale=4.0, **changes), plan).evaluations

    passes = transformer_run("shapes-32").transformer.drawing.by_map
    assert counted("var") == 2 * sum(passes)
    assert counted("var", guidance_interval=(0, 3)) == sum(passes) + sum(passes[:3])
    assert counted("diffusion") == 100
    assert 50 < counted("diffusion", guidance_interval=(0.2, 0.8)) < 100
    assert counted("diffusion", sampler="dpmpp", num_inference_steps=None) == 20
    diffusion = CONTENDERS["diffusion"].plan_of(tiny_diffusion_pipeline(), None)
    assert CONTENDERS["diffusion"].setting(diffusion.headline, diffusion).evaluations == 2 * diffusion.headline.steps(
        99
    )
    var = CONTENDERS["var"].plan_of(tiny_pipeline(), None)
    assert CONTENDERS["var"].setting(var.headline, var).evaluations == 2 * var.steps
