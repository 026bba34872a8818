import re

import pytest
import yaml
from annotations import unchecked
from huggingface_hub import ModelCard as HubCard
from tiny import tiny_pipeline
from tiny_models import Pair, one_line

from diffusion_baseline import DiffusionPipeline, UNet
from var import VAR, VARPipeline
from var.hub import ModelCard
from var.hub.cards import card_text, licence_id
from var.terms import Terms

FULL = ModelCard(
    license="apache-2.0",
    tags=("digits", "VAR"),
    dataset="digits",
    metrics={"FD-digits": 0.16, "precision": 1},
    description="Trained for a test: it's *small*.",
)


def test_the_front_matter_is_what_the_hub_reads():
    card = HubCard(card_text(FULL, VARPipeline, "me/var-digits"))
    data = card.data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "apache-2.0", "next-scale", "unconditional-image-generation",
    )  # fmt: skip
    assert data.tags == ["image-generation", "VARPipeline", "digits", "VAR"]
    assert data.model_name == "var-digits"
    found = {
        result.metric_name: (result.metric_type, result.metric_value, result.dataset_name)
        for result in data.eval_results
    }
    assert found == {"FD-digits": ("fd-digits", 0.16, "digits"), "precision": ("precision", 1, "digits")}
    assert "Trained for a test: it's *small*." in card.text
    assert "| FD-digits | 0.16 |" in card.text


def test_the_front_matter_is_a_model_index():
    front = yaml.safe_load(card_text(FULL, VAR, "me/var").split("---\n")[1])
    (model,) = front["model-index"]
    assert model["name"] == "var"
    (result,) = model["results"]
    assert result["task"]["type"] == "unconditional-image-generation"
    assert result["dataset"] == {"name": "digits", "type": "digits"}
    assert [metric["type"] for metric in result["metrics"]] == ["fd-digits", "precision"]
    assert "pipeline_tag" not in front  # a part is no answer to a search for generators


@pytest.mark.parametrize(
    ("card", "asked", "task"),
    [
        (ModelCard(), "class_labels=[0, 1]", "unconditional-image-generation"),
        (ModelCard(), 'prompt="a cat"', "text-to-image"),
        (ModelCard(call='prompt="a cat", seeds=[0]'), "class_labels=[0, 1]", "text-to-image"),
        (ModelCard(call='seeds=[0], prompt="a cat"'), "class_labels=[0, 1]", "text-to-image"),
        (ModelCard(task="image-to-image"), 'prompt="a cat"', "image-to-image"),
    ],
)
def test_a_pipeline_is_found_by_what_it_is_asked_for(card, asked, task):
    front = yaml.safe_load(card_text(card, VARPipeline, "me/var", asked).split("---\n")[1])
    assert front["pipeline_tag"] == task


def test_without_metrics_there_is_no_model_index():
    data = HubCard(card_text(ModelCard(), VAR, "me/var")).data
    assert (data.license, data.eval_results, data.get("model-index")) == ("mit", None, None)


@pytest.mark.parametrize("cls", [VAR, VARPipeline, UNet, DiffusionPipeline])
def test_the_snippet_loads_the_class_from_where_it_is(cls):
    text = card_text(ModelCard(), cls, "me/model")
    code = text.split("```python\n")[1].split("```")[0]
    asked = {}

    class Stub:
        @classmethod
        def from_pretrained(cls, name):
            asked["id"] = name
            return cls()

        def __call__(self, class_labels, seeds):
            asked["labels"] = class_labels
            return type("Output", (), {"images": ["image"] * len(class_labels)})

    home, name = code.split("from ")[1].split("\n")[0].split(" import ")
    assert getattr(__import__(home), name) is cls
    exec(code.replace(f"from {home} import {name}", ""), scope := {name: Stub})
    assert asked["id"] == "me/model"
    assert ("images" in scope) == cls.__name__.endswith("Pipeline")


def test_a_saved_model_has_a_card_if_it_is_given_one(tiny, pipeline, tmp_path):
    tiny.save_pretrained(tmp_path / "plain")
    assert not (tmp_path / "plain" / "README.md").exists()
    tiny.save_pretrained(tmp_path / "tiny-model", card=FULL)
    assert HubCard.load(tmp_path / "tiny-model" / "README.md").data.model_name == "tiny-model"
    pipeline.save_pretrained(tmp_path / "pair", card=ModelCard(license="cc0-1.0"))
    assert HubCard.load(tmp_path / "pair" / "README.md").data.license == "cc0-1.0"
    assert 'Pair.from_pretrained("pair")' in (tmp_path / "pair" / "README.md").read_text()


TERMS = ModelCard(
    license="cc-by-sa-4.0", dataset="emoji", data_licence="CC BY-SA 4.0", attribution="By <b>them</b> (https://a_b.org)"
)


def test_the_terms_of_the_data_stand_in_the_card_and_stay_where_a_loaded_model_goes(tiny, pipeline, tmp_path):
    said = "Trained on emoji, whose images are licensed CC BY-SA 4.0. By &lt;b>them&lt;/b> (https://a_b.org)"
    for model in (tiny, pipeline):
        cls = type(model)
        model.save_pretrained(tmp_path / cls.__name__ / "first", card=TERMS)
        loaded = cls.from_pretrained(tmp_path / cls.__name__ / "first")
        loaded.save_pretrained(tmp_path / cls.__name__ / "second")
        page = (tmp_path / cls.__name__ / "second" / "README.md").read_text()
        assert page == card_text(TERMS, cls, "second")
        assert said in page
        (tmp_path / cls.__name__ / "second" / "README.md").write_text("mine")
        loaded.save_pretrained(tmp_path / cls.__name__ / "second")
        assert (tmp_path / cls.__name__ / "second" / "README.md").read_text() == "mine"


def test_licences_have_the_names_of_the_hub():
    names = {"CC BY-SA 4.0": "cc-by-sa-4.0", "OFL 1.1": "ofl-1.1", "CC BY 4.0": "cc-by-4.0", "MIT, OFL 1.1": "other"}
    names |= {"©": "other", "": "other", "自由": "other"}
    assert {licence: licence_id(licence) for licence in names} == names
    assert licence_id(None) is None
    assert "license" not in yaml.safe_load(card_text(ModelCard(license=None), Pair, "x").split("---\n")[1])


HOSTILE = "a|b`c*<script>alert(1)</script>\n---\nlicense: x\n# d $\\frac{$ \x1b[2J\ud800 \u202e"


def test_names_of_others_say_nothing_in_markdown_html_yaml_or_python(tiny, tmp_path):
    """F17: a name stays a name, in every format that it is written in."""
    place = 'me/we"ird\n```<b>\\'
    card = ModelCard(
        dataset=HOSTILE,
        metrics={HOSTILE: 1.0},
        tags=("a: b\nc: d", HOSTILE),
        description="*Mine* <script>x</script>\x1b[2J",
    )
    text = card_text(card, Pair, place)
    body = text.split("---\n", 2)[2]
    assert all(each.isprintable() or each == "\n" for each in text)
    for tag in ("<script", "<b>"):
        assert tag not in body.replace(body.split("```python")[1].split("\n```\n")[0], "")
    assert "*Mine* &lt;script>x" in body
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["license"] == "mit"
    assert front["tags"][2] == "a: b\\nc: d"
    assert front["model-index"][0]["results"][0]["dataset"]["name"].startswith("a|b`c*<script>")
    title, *comments = [line for line in body.splitlines() if line.startswith("#")]
    assert title == '# we"ird' + r"\\n\`\`\`&lt;b&gt;\\"
    assert comments == ["# pip install next-scale"]
    (row,) = [line for line in body.splitlines() if line.endswith("| 1 |")]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3  # two cells
    code = body.split("```python\n")[1].split("\n```\n")[0]
    asked = []
    stub = type("Pair", (), {"from_pretrained": staticmethod(asked.append)})
    exec(code.replace("from tiny_models import Pair", ""), {"Pair": stub})
    assert asked == [place]
    tiny.save_pretrained(tmp_path / "a<i>|b", card=card)
    assert "# a&lt;i&gt;\\|b" in (tmp_path / "a<i>|b" / "README.md").read_text()


@pytest.mark.parametrize(
    "fields",
    [
        *({"license": 5}, {"tags": "ab"}, {"tags": [5]}, {"dataset": 5}, {"description": None}, {"task": None}),
        *({"metrics": [1]}, {"metrics": {5: 1.0}, "dataset": "d"}, {"metrics": {"a": "1"}, "dataset": "d"}),
        *({"metrics": {"a": True}, "dataset": "d"}, {"metrics": {"a": float("inf")}, "dataset": "d"}),
    ],
)
def test_fields_of_a_card_are_of_their_types(fields):
    with unchecked(), one_line(next(iter(fields))):
        ModelCard(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"license": "MIT licence"}, "license must be a name that the Hub knows, such as 'mit', got 'MIT licence'"),
        ({"license": ""}, "license must be a name"),
        ({"task": "Making images"}, "task must be a name that the Hub knows"),
        ({"tags": ("a", "")}, "tags must be a tuple of texts"),
        ({"metrics": {"FD": 1.0}}, "metrics need the dataset on which they were measured, got none"),
        ({"metrics": {"FD": float("nan")}, "dataset": "d"}, "metrics must be finite numbers, got FD = nan; leave"),
    ],
)
def test_cards_that_say_nothing_right_are_refused(fields, message):
    with one_line(message):
        ModelCard(**fields)


def test_a_page_that_nobody_wrote_tells_the_licence_of_the_images_it_was_trained_on():
    pipeline = tiny_pipeline()
    pages = [pipeline._page_at("me/mine", None)]
    pipeline.terms = Terms("CC BY-SA 4.0", "Drawn by others")
    pages.append(pipeline._page_at("me/mine", None))
    fronts = [yaml.safe_load(page.split("---\n")[1]) for page in pages]
    assert [front["license"] for front in fronts] == ["mit", "cc-by-sa-4.0"]
    assert "Drawn by others" in pages[1]
