"""Commits to a real HTTP server that speaks the Hub's protocol."""

import pytest
from hub_server import TOKEN
from huggingface_hub import ModelCard
from PIL import Image
from tiny import tiny_diffusion_pipeline
from tiny_models import Other, Tiny, TinyConfig

from diffusion_baseline import CascadePipeline


def values(model):
    return {name: tensor.tolist() for name, tensor in model.state_dict().items()}


def test_a_pushed_model_comes_back(client, hub, saved, repo_id, tiny, cache):
    address = client.call(
        "push", "Tiny", str(saved), repo_id, token=TOKEN, private=True, commit_message="First", max_shard_size=45
    )
    repository = hub.repositories[repo_id]
    sha, message, files = repository.commits[-1]
    assert address == f"{hub.address}/{repo_id}/commit/{sha}"
    assert (message, repository.private, len(repository.commits)) == ("First", True, 2)
    assert set(files) == {
        ".gitattributes", "README.md", "config.json", "model.safetensors.index.json",
        *(f"model-0000{n}-of-00003.safetensors" for n in (1, 2, 3)),
    }  # fmt: skip
    assert client.call("load", "Tiny", repo_id, token=TOKEN, cache_dir=str(cache)) == values(tiny)


def test_pushing_again_leaves_no_weights_of_before_and_keeps_the_page(client, hub, saved, repo_id, tmp_path, cache):
    client.call("push", "Tiny", str(saved), repo_id, token=TOKEN, max_shard_size=45)
    hub.repositories[repo_id].commit({"README.md": b"---\nlicense: mit\n---\nmine", "notes.md": b"mine"})
    newer = Tiny(TinyConfig(width=5))
    newer.save_pretrained(tmp_path / "newer")
    client.call("push", "Tiny", str(tmp_path / "newer"), repo_id, token=TOKEN)
    files = hub.repositories[repo_id].files
    assert len(hub.repositories[repo_id].commits) == 4  # that is, each push is one
    assert set(files) == {".gitattributes", "README.md", "config.json", "model.safetensors", "notes.md"}
    assert files["README.md"].endswith(b"mine")
    assert client.call("load", "Tiny", repo_id, cache_dir=str(cache)) == values(newer)
    card = {"metrics": {"FD-digits": 0.16}, "dataset": "digits"}
    client.call("push", "Tiny", str(tmp_path / "newer"), repo_id, token=TOKEN, card=card)
    (result,) = ModelCard(files_of(hub, repo_id)["README.md"].decode()).data.eval_results
    assert (result.metric_name, result.metric_value) == ("FD-digits", 0.16)


def test_a_new_repository_gets_the_page_of_the_folder(client, hub, saved, repo_id):
    (saved / "README.md").write_text('---\nlicense: cc-by-4.0\n---\n# old\n\nx = Tiny.from_pretrained("old")\n')
    client.call("push", "Tiny", str(saved), repo_id, token=TOKEN)
    title = repo_id.partition("/")[2]
    text = f'---\nlicense: cc-by-4.0\n---\n# {title}\n\nx = Tiny.from_pretrained("{repo_id}")\n'
    assert files_of(hub, repo_id)["README.md"].decode() == text


def files_of(hub, repo_id):
    return hub.repositories[repo_id].files


def test_a_pushed_pipeline_comes_back(client, hub, pipeline, tmp_path, cache):
    pipeline.save_pretrained(tmp_path / "pair")
    client.call("push", "Pair", str(tmp_path / "pair"), "pair", token=TOKEN)  # the owner is the one who is logged in
    assert set(files_of(hub, "me/pair")) == {
        ".gitattributes", "README.md", "pipeline_index.json", "first/config.json", "first/model.safetensors",
        "second/config.json", "second/model.safetensors",
    }  # fmt: skip
    assert 'Pair.from_pretrained("me/pair")' in files_of(hub, "me/pair")["README.md"].decode()
    answer = client.call("load", "Pair", "me/pair", cache_dir=str(cache))
    assert answer == {"first": values(pipeline.first), "second": values(pipeline.second), "steps": 9}


def test_a_pushed_cascade_draws_by_its_id(client, hub, repo_id, tmp_path):
    base = tiny_diffusion_pipeline(image_size=(2, 4))
    cascade = CascadePipeline(base, tiny_diffusion_pipeline(small_size=(2, 4), small_noise=0.5))
    cascade.save_pretrained(tmp_path / "cascade")
    client.call("push", "CascadePipeline", str(tmp_path / "cascade"), repo_id, token=TOKEN)
    assert {f"{part}/unet/model.safetensors" for part in cascade.parts} < set(files_of(hub, repo_id))
    options = ["--steps", "2", "--output", str(tmp_path / "out"), "--device", "cpu", "--quiet"]
    assert client.call("command", "generate", "--model", repo_id, "--augmentation", "0.1", *options) == 0
    drawn = cascade(None, 1, seeds=[0], num_inference_steps=2, augmentation=0.1, progress=False).images[0]
    with Image.open(tmp_path / "out" / "0.png") as image:
        assert image.tobytes() == drawn.tobytes()


def test_a_model_may_stand_in_a_subfolder_beside_others(client, hub, pipeline, repo_id, tmp_path):
    pipeline.save_pretrained(tmp_path / "pair", max_shard_size=45)
    hub.add(repo_id, tmp_path / "pair")
    shards = [name for name in files_of(hub, repo_id) if name.startswith("first/model-")]
    assert len(shards) == 3
    Other(TinyConfig(width=2)).save_pretrained(tmp_path / "other")
    client.call("push", "Other", str(tmp_path / "other"), repo_id, token=TOKEN)
    assert set(shards) < set(files_of(hub, repo_id))  # weights in folders that are not written to stay


@pytest.mark.parametrize(
    ("repo_id", "token", "message"),
    [
        ("me/refused", "hf_bad", "the Hub did not take 'me/refused': status 401, not allowed; pass a token"),
        ("me/refused", False, "the Hub did not take 'me/refused': status 401, not allowed; pass a token"),
        ("a/b/c", TOKEN, "a model must be an existing folder or a Hub id like 'owner/name', got 'a/b/c'"),
    ],
)
def test_a_push_that_is_refused(client, hub, saved, repo_id, token, message):
    assert client.error("push", "Tiny", str(saved), repo_id, token=token).startswith(message)
    assert repo_id not in hub.repositories


def test_a_card_that_is_wrong_is_refused_before_anything_is_sent(client, hub, saved):
    # Here, because annotations are not enforced in the client, as they are not for users.
    message = client.error("push", "Tiny", str(saved), "me/tags", token=TOKEN, card={"tags": "digits"})
    assert message == "tags must be a list, each a text, got 'digits'; correct it"
    assert "me/tags" not in hub.repositories


def test_a_push_without_a_hub(client, hub, saved):
    with hub.fault(portal=True):
        assert "the answer is not the Hub's" in client.error("push", "Tiny", str(saved), "me/lost", token=TOKEN)
    with hub.fault(down=500):
        assert "it answers with status 500" in client.error("push", "Tiny", str(saved), "me/lost", token=TOKEN)
