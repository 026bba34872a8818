"""What later passes are told: of tokens drawn before them, and of nothing else."""

import pytest
import torch
import torch.nn.functional as F
from tiny import spread, tiny_transformer

from var import ScaleSchedule
from var.transformer.passes import Passes

SIDES, COUNTS = (2, (3, 5)), (3, 6)


@pytest.mark.parametrize("order", ["even", "raster"])
def test_the_neighbours_are_those_of_the_same_map_that_are_drawn_before(order):
    passes = Passes(ScaleSchedule(SIDES), COUNTS, order)
    places = passes.neighbours()
    for scale, where in enumerate(passes.scales.slices()):
        width, drawn = passes.scales.shapes[scale][1], set()
        for part in passes.of(scale):
            for at in part.tolist():
                apart = {place: divmod(place, width) for place in drawn}
                near = {
                    place + where.start
                    for place, (row, column) in apart.items()
                    if abs(row - at // width) <= 2 and abs(column - at % width) <= 2
                }
                assert set(places[where.start + at].tolist()) - {-1} == near
            drawn |= set(part.tolist())


@pytest.mark.parametrize("features", [0, 3])
@torch.no_grad()
def test_neighbours_are_told_by_a_convolution_of_what_is_drawn(features):
    torch.manual_seed(3)
    how = {"told": "neighbours", "told_features": features}
    model = spread(tiny_transformer(sides=SIDES, passes=COUNTS, **how)).double()
    told, scales = model.told_embedding, model.scales
    told.codes.normal_(std=3.0)
    tokens = torch.randint(len(told.codes), (2, scales.length))
    found = model._told(told.prepared(), tokens, scales.length)
    weight = told.projection.weight.unflatten(1, (24, -1))
    weight = torch.cat((weight[:, :12], torch.zeros_like(weight[:, :1]), weight[:, 12:]), dim=1)
    kernel = weight.unflatten(1, (5, 5)).permute(0, 3, 1, 2)  # of the 5x5 around a position, without its middle
    codes = F.pad(told.codes / told.codes.std(), (0, 1), value=1.0)
    codes = (codes if told.features is None else torch.cat((codes, told.features), dim=1))[tokens]
    for scale, where in enumerate(scales.slices()):
        drawn = torch.zeros(where.stop - where.start, 1, dtype=torch.double)
        for part in model.passes.of(scale):
            seen = (codes[:, where] * drawn).mT.unflatten(2, scales.shapes[scale])
            expected = F.conv2d(seen, kernel, padding=2).flatten(2).mT
            torch.testing.assert_close(found[:, where][:, part], expected[:, part])
            drawn[part] = 1.0
