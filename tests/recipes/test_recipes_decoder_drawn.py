"""Tokens as a pipeline draws them for its decoder: the same in parts, in processes and after an interruption."""

import pytest
import torch
from tiny import tiny_pipeline
from vector_runs import WIDTH, some_images, some_vectors

from var import VARPipeline
from var.data import ArrayData, WithVectors
from var.errors import UserError
from var.generation.sampling_settings import SamplingSettings
from var.randomness import keyed_seed
from var.recipes.decoder import drawn as drawing
from var.recipes.transformer.token_cache_files import TokenFiles

SIDES = (1, 2, 4)  # of images of 8 pixels, such as digits


class Drawn:
    """Tokens in the folder `place`, with what a test changes."""

    def __init__(self, place, pipeline, data):
        self.usual = {"pipeline": pipeline, "data": data, "count": 13, "sampling": pipeline.sampling}
        self.usual |= {"folder": place, "digest": "a", "seed": 2, "progress": False}

    def __call__(self, **changes):
        how = {**self.usual, **changes}
        first = [how.pop(name) for name in ("pipeline", "data", "count", "sampling")]
        return drawing.drawn_tokens(*first, **how)


class TestDrawn:
    @pytest.fixture
    def draw(self, tmp_path, monkeypatch):
        """Files of 5 images, 2 at once: three of them."""
        monkeypatch.setattr(drawing, "PART", 5)
        monkeypatch.setattr(drawing, "BATCH", 2)
        pipeline = tiny_pipeline()
        pipeline.sampling = SamplingSettings(guidance_scale=2.0, top_k=5)
        return Drawn(tmp_path / "tokens", pipeline, some_images())

    def test_they_are_those_that_the_pipeline_draws_of_all_that_the_data_show(self, draw, monkeypatch):
        shown, seeds, call = [], [], VARPipeline.__call__

        def noted(pipeline, condition, **how):
            shown.extend(condition.labels.tolist())
            seeds.extend(how["seeds"])
            return call(pipeline, condition, **how)

        monkeypatch.setattr(VARPipeline, "__call__", noted)
        tokens = draw(count=12)
        places = [2 * index for index in range(12)]
        assert shown == [place % 5 for place in places]
        assert set(shown) == set(range(5))
        assert seeds == [keyed_seed("drawn", 2, index) for index in range(12)]
        out = call(draw.usual["pipeline"], shown[3], seeds=[seeds[3]], output_type="pt", progress=False)
        assert torch.equal(tokens[3], draw.usual["pipeline"].vqvae.scales.flatten(out.tokens)[0])
        assert tokens.shape == (12, 14)
        assert tokens.dtype == torch.int64

    def test_processes_share_the_work(self, draw, tmp_path):
        whole = draw()
        with pytest.raises(UserError, match=r"must have 3 parts, got 2 \(part-000001.safetensors is missing\)"):
            draw(folder=tmp_path / "shared", rank=0, world_size=2)
        shared, waited = tmp_path / "shared", []
        how = {"rank": 1, "world_size": 2, "wait": lambda: waited.append(len(list(shared.glob("part-*"))))}
        assert torch.equal(draw(folder=shared, **how), whole)
        assert waited == [3]

    def test_one_that_comes_late_draws_its_own_share_only(self, draw, tmp_path, monkeypatch):
        """What others have drawn by then must not move what is left to it."""
        written = []
        monkeypatch.setattr(TokenFiles, "save", lambda files, number, tokens: written.append(number))
        with pytest.raises(UserError, match="must have 3 parts, got 0"):
            draw(folder=tmp_path / "shared", rank=0, world_size=2)
        monkeypatch.setattr(TokenFiles, "has", lambda files, number, *_: number == 0)
        with pytest.raises(UserError, match="must have 3 parts, got 0"):
            draw(folder=tmp_path / "shared", rank=1, world_size=2)
        assert written == [0, 2, 1]

    def test_an_interrupted_call_goes_on_where_it_was(self, draw, tmp_path, monkeypatch):
        whole, save = draw(folder=tmp_path / "whole"), TokenFiles.save

        def stopped(files, number, tokens):
            save(files, number, tokens)
            if number == 1:
                raise KeyboardInterrupt

        monkeypatch.setattr(TokenFiles, "save", stopped)
        with pytest.raises(KeyboardInterrupt):
            draw()
        left = {path: path.stat().st_mtime_ns for path in draw.usual["folder"].glob("part-*")}
        assert len(left) == 2
        monkeypatch.setattr(TokenFiles, "save", save)
        assert torch.equal(draw(), whole)
        assert left == {path: path.stat().st_mtime_ns for path in left}
        for path in left:
            assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"digest": "b"}, "got pipeline a instead of b; delete it or choose another folder"),
            ({"sampling": SamplingSettings(top_k=4)}, "got sampling {.*'top_k': 5.* instead of {.*'top_k': 4"),
            ({"seed": 3}, "got seed 2 instead of 3"),
            ({"count": 12}, "got samples 13 instead of 12"),
            ({"data": ArrayData(torch.zeros(5, 1, 6, 6), range(5))}, "got data [0-9a-f]{32} instead of [0-9a-f]{32}"),
        ],
    )
    def test_tokens_of_something_else_are_refused_by_name(self, draw, change, message):
        draw()
        with pytest.raises(UserError, match=message):
            draw(**change)

    def test_models_of_vectors_are_told_those_of_the_data(self, draw):
        data = WithVectors(some_images(), some_vectors())
        pipeline = tiny_pipeline(vector_width=WIDTH)
        tokens = draw(pipeline=pipeline, data=data, count=24)
        seed = [keyed_seed("drawn", 2, 7)]
        how = {"seeds": seed, "sampling": draw.usual["sampling"], "output_type": "pt", "progress": False}
        mine, other = (pipeline(7 % 5, vectors=some_vectors()[place], **how).tokens for place in (7, 8))
        assert torch.equal(tokens[7], pipeline.vqvae.scales.flatten(mine)[0])
        assert not torch.equal(tokens[7], pipeline.vqvae.scales.flatten(other)[0])
