"""Maps that are drawn in several passes: exact probabilities, and a cache that gives what the masked pass gives."""

import itertools

import pytest
import torch
from teacher_forced import TeacherForced
from tiny import spread, tiny_transformer, tiny_vqvae, transformer_config

from var import ScaleSchedule, VARPipeline
from var.conditions import Condition
from var.errors import UserError
from var.generation.engine import Engine
from var.recipes.transformer.task import TransformerTask
from var.sampling.guidance import Guidance
from var.transformer.passes import Passes

SIDES, REPEATS, PASSES = (1, 2, 3), (2, 1, 2), (1, 1, 4, 2, 4)  # maps of 1, 1, 4, 9 and 9 tokens
QUIET = {"output_type": "pt", "progress": False}


def several(**changes):
    torch.manual_seed(5)
    maps = {"sides": SIDES, "repeats": REPEATS}
    model = tiny_transformer(**maps, width=32, heads=4, **{"passes": PASSES, **changes})
    vqvae = tiny_vqvae(**maps).eval()
    TransformerTask(spread(model), vqvae)  # tells the model of the codes
    return VARPipeline(vqvae, model.eval())


def same(left, right):
    return all(torch.equal(*pair) for pair in zip(left.tokens, right.tokens, strict=True))


@pytest.mark.parametrize("side", [1, 4, 5, (3, 6), (8, 2)])
def test_passes_share_out_a_map_evenly_and_see_what_came_before(side):
    scales = ScaleSchedule((side,))
    length = scales.length
    for count in {1, min(2, length), min(3, length), length}:
        passes = Passes(scales, (count,))
        parts = passes.of(0)
        assert sorted(torch.cat(parts).tolist()) == list(range(length))
        sizes = list(map(len, parts))
        assert len(sizes) == count
        assert sizes == sorted(sizes, reverse=True)
        assert sizes[0] - sizes[-1] <= 1
        seen, told = passes.mask(), passes.told()
        for number, part in enumerate(parts):
            before = torch.cat(parts[: number + 1]).sort().values
            assert all(seen[at].nonzero()[:, 0].tolist() == before.tolist() for at in part)
            assert all((told[at] in parts[number - 1]) if number else (told[at] == -1) for at in part)
            assert len(set(told[part].tolist())) == (len(part) if number else 1)


def test_a_quarter_of_a_map_lies_on_every_other_row_and_column():
    assert [part.tolist() for part in Passes(ScaleSchedule((4,)), (4,)).of(0)] == [
        [0, 10, 2, 8],
        [5, 15, 7, 13],
        [1, 11, 3, 9],
        [4, 14, 6, 12],
    ]


def test_raster_order_is_that_of_old():
    """Every token sees those before it, row by row, and is told the last one."""
    passes = Passes(ScaleSchedule(((2, 3),)), (6,), "raster")
    assert [part.tolist() for part in passes.of(0)] == [[place] for place in range(6)]
    assert passes.told().tolist() == [-1, 0, 1, 2, 3, 4]
    assert torch.equal(passes.mask(), torch.ones(6, 6, dtype=torch.bool).tril())


def test_diagonals_know_the_neighbours_that_raster_order_knows():
    """All but those two columns to the right, which lie on the same one."""
    raster, diagonal = (
        Passes(ScaleSchedule(((4, 5),)), (count,), order) for order, count in (("raster", 20), ("diagonal", 11))
    )
    assert sorted(torch.cat(diagonal.of(0)).tolist()) == list(range(20))
    assert [part.tolist() for part in diagonal.of(0)][:6] == [[0], [1], [2, 5], [3, 6], [4, 7, 10], [8, 11]]
    known, fewer = raster.neighbours(), diagonal.neighbours()
    down, across = torch.tensor([(a, b) for a in range(-2, 3) for b in range(-2, 3) if (a, b) != (0, 0)]).unbind(1)
    same = (down == -1) & (across == 2)
    assert torch.equal(known[:, ~same & (down <= 0)], fewer[:, ~same & (down <= 0)])
    assert (fewer[:, same] == -1).all()


@torch.no_grad()
def test_probabilities_of_all_maps_sum_to_one_and_are_no_product():
    torch.manual_seed(0)
    model = spread(tiny_transformer(sides=(2,), vocabulary=2, passes=(4,))).eval().double()
    maps = torch.tensor(list(itertools.product((0, 1), repeat=4)))
    none = torch.zeros(len(maps), 0, 4, dtype=torch.double)
    logits = model(torch.ones(len(maps), dtype=torch.long), none, maps)
    own = logits.log_softmax(-1).gather(-1, maps[..., None])[..., 0]
    joint = own.sum(1).exp()
    torch.testing.assert_close(joint.sum(), torch.tensor(1.0, dtype=torch.double))
    single = torch.stack([(joint[:, None] * (maps == code)).sum(0) for code in (0, 1)])  # (code, position)
    assert (joint - single[maps, torch.arange(4)].prod(1)).abs().max() > 0.01


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attention": "markov", "window": 1},
        {"order": "raster", "told": "code"},
        {"told": "neighbours"},
        {"told": "neighbours", "told_features": 3, "order": "diagonal", "passes": (1, 1, 4, 7, 1)},
    ],
)
@torch.no_grad()
def test_a_cache_gives_the_logits_of_the_masked_pass(guided, changes):
    pipe = several(**changes)
    vqvae, model = pipe.vqvae, pipe.transformer
    token_maps = [torch.randint(16, (2, *shape)) for shape in model.scales.shapes]
    latents = [None, *vqvae.accumulate(token_maps)]
    shown = Condition.of(torch.tensor([1, 4]))
    slow, fast = (each(vqvae, model).begin(shown, guide=guided) for each in (TeacherForced, Engine))
    fast.cache.storage.fill_(float("nan"))  # what is not written yet must not be read
    whole = model(torch.tensor([1, 4]), vqvae.teacher_inputs(token_maps), model.scales.flatten(token_maps))
    for scale, where in enumerate(model.scales.slices()):
        drawn = []
        for positions in model.passes.of(scale):
            guidance = 2.0 if guided and scale < 3 else None
            found = fast.logits(scale, latents[scale], guidance, drawn)
            expected = slow.logits(scale, latents[scale], guidance, drawn)
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
            if guidance is None:
                torch.testing.assert_close(found, whole[:, where][:, positions], atol=1e-4, rtol=1e-4)
            drawn.append(token_maps[scale].flatten(1)[:, positions])


@pytest.mark.parametrize("call", [{}, {"guidance_scale": [1.5, 0.0, 3.0, 1.0, 1.0]}, {"smooth": True}])
def test_calls_of_every_kind_draw_what_the_masked_pass_draws(call, monkeypatch):
    pipe, slow = several(), several()
    decode = slow._runs(None)[1]
    monkeypatch.setattr(slow, "_runs", lambda weaker: (TeacherForced(slow.vqvae, slow.transformer), decode))
    call = {"class_labels": [1, 4, 2], "seeds": [5, 6, 7], **call, **QUIET}
    out = pipe(**call)
    assert same(out, slow(**call))
    assert same(out, VARPipeline.collaborate(pipe, pipe, handover=2)(**call))
    alone = pipe(**call | {"class_labels": 4, "seeds": [6]})
    assert all(torch.equal(each[1:2], one) for each, one in zip(out.tokens, alone.tokens, strict=True))
    mask = torch.zeros(6, 6, dtype=torch.bool)
    mask[:, 3:] = True
    edited = [each.edit(out.images, mask, **call) for each in (pipe, slow)]
    assert same(*edited)
    assert not same(edited[0], out)
    nothing = pipe.edit(out.images, ~torch.ones_like(mask), **call)
    assert all(map(torch.equal, nothing.tokens, pipe.vqvae.encode(out.images * 2 - 1)))


def test_the_model_itself_as_the_weaker_one_changes_nothing():
    pipe, call = several(), {"class_labels": [1, 4], "seeds": [5, 6], **QUIET}
    assert same(pipe(**call, guidance=Guidance(scale=2.0, weaker=pipe)), pipe(**call, guidance_scale=1.0))


def test_the_likeliest_candidate_is_likelier_than_the_plain_call():
    pipe = several()
    labels = torch.tensor([1, 4, 2])
    call = {"class_labels": labels, "seeds": [5, 6, 7], "guidance_scale": 1.0, **QUIET}
    found = []
    for search in ({}, {"candidates": 6, "keep_scale": 4, "verifier": "likelihood"}):
        tokens = pipe(**call, **search).tokens
        flat = pipe.transformer.scales.flatten(tokens)
        with torch.no_grad():
            logits = pipe.transformer(labels, pipe.vqvae.teacher_inputs(tokens), flat)
        found.append(logits.log_softmax(-1).gather(-1, flat[..., None]).sum(dim=(1, 2)))
    assert (found[1] > found[0] + 0.1).all()


def test_it_is_saved_and_what_cannot_be_is_refused(tmp_path):
    pipe = several()
    pipe.save_pretrained(tmp_path)
    back = VARPipeline.from_pretrained(tmp_path)
    assert back.transformer.config == pipe.transformer.config
    assert same(back([1], seeds=[0], **QUIET), pipe([1], seeds=[0], **QUIET))
    for passes in ((1, 1), (1, 1, 1, 1, 10), (1, 1, 0, 1, 1)):
        with pytest.raises(UserError, match=r"passes must be a number for each of the 5 .* from 1 to .*\(1, 1,"):
            transformer_config(sides=SIDES, repeats=REPEATS, passes=passes)
    inputs = pipe.vqvae.teacher_inputs([torch.zeros(1, *shape, dtype=torch.long) for shape in back.vqvae.scales.shapes])
    with pytest.raises(UserError, match=r"in several passes needs their 24 tokens, got none; pass tokens="):
        pipe.transformer(torch.tensor([1]), inputs)
    other = several()
    other.transformer = spread(tiny_transformer(sides=SIDES, repeats=REPEATS, width=32, heads=4)).eval()
    with pytest.raises(UserError, match="small must have the same passes as large"):
        VARPipeline.collaborate(pipe, other, handover=2)
    with pytest.raises(UserError, match="finer must have the same passes"):
        VARPipeline(pipe.vqvae, pipe.transformer, finer=other.transformer, handover=2)
    with pytest.raises(UserError, match="weaker must have the same passes"):
        pipe(1, seeds=[0], guidance=Guidance(scale=2.0, weaker=other), **QUIET)
    with pytest.raises(UserError, match="weaker must have the same order"):
        pipe(1, seeds=[0], guidance=Guidance(scale=2.0, weaker=several(order="raster")), **QUIET)
    with pytest.raises(UserError, match="of several passes, got 'even', 'code' and one each; set passes too"):
        transformer_config(told="code")
    for changes, complaint in (
        ({"told": "neighbours", "passes": (1, 1, 4, 9, 1)}, r"or as many as diagonals \(1, 1, 4, 7, 7\), got \(1,"),
        (
            {"told": "code", "told_features": 2, "passes": PASSES},
            r"told of neighbours, got 2 and told='code'; set told",
        ),
        ({"told": "code", "passes": (1, 1, 1, 7, 1)}, r"is of maps that are told neighbours, got told='code'; set"),
    ):
        with pytest.raises(UserError, match=complaint):
            transformer_config(sides=SIDES, repeats=REPEATS, order="diagonal", **changes)
