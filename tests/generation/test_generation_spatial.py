"""Spatial guidance: what a map says beyond the one before it counts for more."""

import pytest
import torch
import torch.nn.functional as F

from var.errors import UserError
from var.generation.sampling_settings import SamplingSettings
from var.generation.spatial import SpatialGuidance
from var.scales import ScaleSchedule
from var.transformer.passes import Passes

SCALES = ScaleSchedule((1, 2, (3, 4)), repeats=(1, 2, 1))
CALL = {"class_labels": [1, 4, 2], "seeds": [5, 6, 7], "output_type": "pt", "progress": False}


def logits_of_all_maps():
    return [torch.randn(2, length, 5) for length in SCALES.lengths]


def guided_by(strengths, passes, maps):
    """What the guidance makes of the logits of each map, which come pass by pass."""
    spatial, found = SpatialGuidance(SCALES, passes, strengths), []
    for scale, logits in enumerate(maps):
        predict = spatial.guided(scale, lambda told, of=(scale, logits): of[1][:, passes[of[0]][len(told)]])
        parts = [predict([torch.zeros(2, 1, dtype=torch.long)] * number) for number in range(len(passes[scale]))]
        found.append(torch.cat(parts, dim=1)[:, torch.cat(list(passes[scale])).argsort()])
    return found


@pytest.mark.parametrize("counts", [(), (1, 2, 3, 4)])
def test_logits_grow_by_what_the_map_before_did_not_say(counts):
    maps, drawing = logits_of_all_maps(), Passes(SCALES, counts)
    passes = [drawing.of(scale) for scale in range(len(SCALES))]
    found = guided_by([9.0, 0.5, 0.0, 2.0], passes, maps)
    assert torch.equal(found[0], maps[0])  # none is before it
    assert torch.allclose(found[1], maps[1] + 0.5 * (maps[1] - maps[0]))  # one token tells every place the same
    assert torch.equal(found[2], maps[2])
    enlarged = F.interpolate(maps[2].mT.unflatten(2, (2, 2)), size=(3, 4), mode="bilinear").flatten(2).mT
    assert torch.allclose(found[3], 3 * maps[3] - 2 * enlarged, atol=1e-5)


def test_nothing_is_kept_where_it_is_off():
    spatial = SpatialGuidance(SCALES, [[torch.arange(n)] for n in SCALES.lengths], [1.0, 0.0, 0.0, 0.0])

    def predict(told):
        raise AssertionError

    assert all(spatial.guided(scale, predict) is predict for scale in range(len(SCALES)))


def test_those_that_go_on_are_guided_by_their_own_maps():
    maps, passes = logits_of_all_maps(), [[torch.arange(n)] for n in SCALES.lengths]
    spatial = SpatialGuidance(SCALES, passes, [0.0, 1.0, 0.0, 0.0])
    spatial.guided(0, lambda told: maps[0])([])
    spatial.select(torch.tensor([1]))
    found = spatial.guided(1, lambda told: maps[1][1:])([])
    assert torch.allclose(found, 2 * maps[1][1:] - maps[0][1:])


def test_an_image_does_not_depend_on_its_batch(pipe):
    free, together = pipe(**CALL), pipe(**CALL, spatial_guidance=2.0)
    assert not torch.equal(free.images, together.images)
    for index, (label, seed) in enumerate(zip(CALL["class_labels"], CALL["seeds"], strict=True)):
        alone = pipe(label, seeds=[seed], output_type="pt", progress=False, spatial_guidance=2.0)
        assert torch.allclose(alone.images[0], together.images[index], atol=1e-5)


def test_searches_and_edits_are_guided_too(pipe):
    found = pipe(**CALL, candidates=2, keep_scale=1, spatial_guidance=2.0)
    assert not torch.equal(found.images, pipe(**CALL, candidates=2, keep_scale=1).images)
    again = pipe.variations(found.images, class_labels=CALL["class_labels"], keep_scales=1, seeds=[5, 6, 7])
    guided = pipe.variations(
        found.images, class_labels=CALL["class_labels"], keep_scales=1, seeds=[5, 6, 7], spatial_guidance=2.0
    )
    assert not all(torch.equal(*pair) for pair in zip(again.tokens, guided.tokens, strict=True))


def test_a_strength_that_is_none_is_refused():
    with pytest.raises(UserError, match="spatial_guidance must be 0 or more, got -1"):
        SamplingSettings(spatial_guidance=-1.0)
    assert "spatial_guidance" not in SamplingSettings().keywords()  # records of before have none
    assert SamplingSettings(spatial_guidance=[0, 0.5]).keywords()["spatial_guidance"] == (0, 0.5)
