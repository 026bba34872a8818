import copy
import json
import math
import re
from dataclasses import replace

import pytest
from comparison.report.fairness import equal_distance, front
from comparison.report.results import Report
from comparison.report.verdict import unbeaten_controls, verdict, winners

from var.errors import UserError
from var.evaluation.report.score_report import ScoreReport

SCORES = {
    "kd": 0.004,
    "inception_score": 9.6,
    "sharpness": 0.97,
    "diversity": 9.9,
    "precision": 0.93,
    "recall": 0.66,
    "class_consistency": 0.995,
    "nearest_train_distance": 1.95,
}


def row(model, fd, seconds, *, steps=4, guidance=1.5, **changes):
    sampler = "next-scale" if model == "var" else "ddim"
    fixed_part = {"model": model, "sampler": sampler, "steps": steps, "guidance_scale": guidance}
    costs = {"parameters": 512_000, "train_seconds": 98.2, "samples": 1000, "seed": 0}
    return fixed_part | {"fd": fd, "seconds_per_1000_images": seconds} | SCORES | costs | changes


def report(results, **changes):
    control = SCORES | {"samples": 1000, "nearest_train_distance": 2.07}
    parts = {
        "results": results,
        "controls": {
            "real_test": control | {"fd": 0.29, "samples": 297},
            "class_gaussian": control | {"fd": 0.96},
            "token_marginals": control | {"fd": 2.3},
        },
        "tokenizer": {
            "psnr_test": 25.3,
            "psnr_train": 26.0,
            "reconstruction_fd": 0.08,
            "codes_used": 1.0,
            "sides": [1, 2, 4],
            "usage_by_scale": [0.4, 0.9, 1.0],
            "perplexity_by_scale": [20.1, 60.2, 90.3],
        },
        "environment": {"python": "3.12", "cpu": "a CPU", "threads": 1},
        "settings": {"extractor": "digits", "data": "small digits"},
    }
    return Report(**(parts | changes))


def typical():
    """VAR is fast, diffusion is near; 20 steps of diffusion reach VAR's distance."""
    return report(
        [
            row("var", 0.5, 0.4, headline=True),
            row("var", 0.7, 0.2, guidance=1.0),
            row("diffusion", 0.3, 10.0, steps=50, headline=True, recall=0.75),
            row("diffusion", 0.4, 4.0, steps=20),
            row("diffusion", 0.6, 2.0, steps=10),
            row("diffusion", 0.9, 5.0, steps=20, guidance=4.0),
        ]
    )


def said(given, lead):
    """The sentence of the verdict that begins with `lead`."""
    found = [sentence for sentence in verdict(given) if sentence.startswith(lead)]
    assert len(found) == 1, verdict(given)
    return found[0]


class TestFront:
    def test_keeps_what_nothing_beats_on_both(self):
        points = [(row["seconds_per_1000_images"], row["fd"]) for row in front(typical().results)]
        assert points == [(0.2, 0.7), (0.4, 0.5), (4.0, 0.4), (10.0, 0.3)]

    def test_interpolates_the_logarithm_of_the_time(self):
        cost = equal_distance(typical().rows("diffusion"), 0.5)
        assert cost is not None
        assert cost.row["steps"] == 20
        assert cost.seconds == pytest.approx(math.sqrt(2.0 * 4.0))  # half-way from 0.6 to 0.4

    def test_the_fastest_setting_may_reach_it_already(self):
        cost = equal_distance(typical().rows("diffusion"), 0.65)
        assert cost is not None
        assert cost.seconds == 2.0

    def test_none_reaches_it(self):
        assert equal_distance(typical().rows("diffusion"), 0.2) is None


class TestVerdict:
    def test_each_wins_something(self):
        given = typical()
        assert verdict(given)[0] == (
            "VAR wins on speed; diffusion wins on distance and recall; they are level on class consistency."
        )
        assert "Diffusion wins by a factor of 1.7. VAR's FD-digits is 0.500, diffusion's 0.300" in said(
            given, "Distance"
        )
        assert "(with 297 images, not 1000)" in said(given, "Distance")
        assert "guided DDIM-50 (g=1.5) 10.0 s: VAR is 25 times as fast" in said(given, "Speed:")
        assert "guided DDIM-20 (g=1.5) with 0.400 in 4.00 s, against 0.400 s: VAR is 10 times as fast" in said(
            given, "Speed at equal"
        )
        assert "to just that distance: VAR is 7.1 times as fast" in said(given, "Speed at equal")
        assert "VAR's samples cover 66.0% of the real images (recall), diffusion's 75.0%" in said(given, "Diversity")
        assert "0.500, a Gaussian per class in pixel space 0.960" in said(given, "VAR beats the controls")
        assert "equal within 10%" in said(given, "Budget")
        assert not any("Copying" in sentence for sentence in verdict(given))

    def test_var_wins_both(self):
        given = report([row("var", 0.3, 0.4, headline=True), row("diffusion", 0.6, 9.0, steps=50, headline=True)])
        assert verdict(given)[0].startswith("VAR wins on distance and speed; they are level on class")
        assert said(given, "Distance: VAR wins by a factor of 2.0.")

    def test_no_diffusion_setting_reaches_vars_distance(self):
        given = report([row("var", 0.3, 0.4, headline=True), row("diffusion", 0.6, 9.0, steps=50, headline=True)])
        sentence = said(given, "Speed at equal distance: none of the diffusion settings")
        assert "guided DDIM-50 (g=1.5), stays at 0.600" in sentence
        assert "times as fast" not in sentence

    def test_diffusion_may_win_on_speed(self):
        given = report([row("var", 0.3, 8.0, headline=True), row("diffusion", 0.2, 2.0, steps=5, headline=True)])
        assert "Diffusion wins" in said(given, "Speed:")
        assert "diffusion is 4.0 times as fast" in said(given, "Speed at equal distance")

    def test_a_model_worse_than_the_gaussian_is_reported(self):
        given = report([row("var", 1.2, 0.4, headline=True), row("diffusion", 0.3, 9.0, steps=50, headline=True)])
        assert unbeaten_controls(given, "var") == ["class_gaussian"]
        assert unbeaten_controls(given, "diffusion") == []
        sentence = said(given, "VAR does not beat the controls")
        assert "1.200" in sentence
        assert "Gaussian per class in pixel space 0.960" in sentence
        assert "token marginals" not in sentence  # this one it does beat
        assert verdict(given)[0].endswith("But VAR does not beat the controls.")
        assert said(given, "Diffusion beats the controls")

    def test_as_good_as_a_control_is_not_better(self):
        given = report([row("var", 0.96, 0.4, headline=True), row("diffusion", 3.0, 9.0, steps=50, headline=True)])
        assert verdict(given)[0].endswith("But VAR and diffusion do not beat the controls.")
        assert "token marginals 2.300" in said(given, "Diffusion does not beat")

    def test_small_differences_are_level(self):
        given = report(
            [
                row("var", 0.31, 9.5, headline=True, class_consistency=0.993, recall=0.70),
                row("diffusion", 0.30, 9.0, steps=50, headline=True, class_consistency=0.998, recall=0.69),
            ]
        )
        assert set(winners(given).values()) == {None}
        assert verdict(given)[0] == "Both models are level on distance, speed, class consistency and recall."
        large = copy.deepcopy(given.results)
        for each in large:
            each["samples"] = 50_000
        assert winners(report(large))["class_consistency"] == "diffusion"

    def test_says_nothing_of_what_was_not_measured(self):
        missing = dict.fromkeys(("class_consistency", "recall", "diversity", "nearest_train_distance"))
        given = report(
            [row("var", 0.5, 0.4, headline=True, **missing), row("diffusion", 0.3, 9.0, steps=50, headline=True)]
        )
        assert verdict(given)[0] == "VAR wins on speed; diffusion wins on distance."
        assert not any(sentence.startswith(("Class consistency", "Diversity")) for sentence in verdict(given))

    def test_copies_and_unequal_budgets_are_told(self):
        given = report(
            [
                row("var", 0.5, 0.4, headline=True, nearest_train_distance=0.5, parameters=900_000),
                row("diffusion", 0.3, 9.0, steps=50, headline=True),
            ]
        )
        assert "0.50 at the median, against 2.07" in said(given, "Copying: VAR")
        assert "not equal, size differs by more than 10%" in said(given, "Budget")

    @pytest.mark.parametrize("flags", [(False, False), (True, True)])
    def test_needs_one_headline_a_model(self, flags):
        rows = [row("var", 0.5, 0.4, headline=flag) for flag in flags]
        rows += [row("var", 0.5, 0.4, headline=True)] * all(flags)
        with pytest.raises(UserError, match="headline"):
            verdict(report(rows))

    def test_one_model_alone_is_held_to_the_controls_only(self):
        alone = report([row("diffusion", 0.3, 9.0, steps=50, headline=True, fd_ratio=1.5)], tokenizer={})
        assert verdict(alone)[0] == "Diffusion alone: its FD-digits is 0.300."
        assert winners(alone) == {}
        assert said(alone, "Distance: Diffusion's FD-digits is 0.300").endswith(
            "Over that of real images at equal n (FDr): diffusion 1.50."
        )
        assert not any(" wins" in sentence or "Speed" in sentence for sentence in verdict(alone))
        assert said(alone, "Budget: diffusion has 512k parameters and trained for 98.2 s.")

    def test_models_that_were_trained_elsewhere_have_no_known_cost(self):
        rows = [each | {"train_seconds": None, "train_flops": None} for each in typical().results]
        given = report(rows)
        assert said(given, "Budget: equal within 10%. VAR has 512k parameters and diffusion has 512k parameters.")
        assert "trained in" not in given.table()


class TestTable:
    def test_shows_headlines_and_controls(self):
        lines = typical().table().splitlines()
        assert "FD-digits" in lines[1]
        assert lines[3].split()[:5] == ["VAR", "g=1.5", "1000", "0.500", "0.400"]
        assert lines[4].startswith("DDIM-50 g=1.5")
        assert any(line.startswith("Gaussian per class") for line in lines)
        assert "DDIM-20" not in typical().table()
        assert len({len(line) for line in lines[1:2] + lines[3:5]}) == 1

    @pytest.mark.parametrize("value", [1e-12, 123456.789, 9.9999e11, -1.234567e-10])
    def test_fits_100_columns_whatever_the_values(self, value):
        scores = dict.fromkeys(("kd", "inception_score", "sharpness", "diversity", "nearest_train_distance"), value)
        extreme = {"parameters": 10**13, "samples": 10**9, "train_seconds": 1e9, "headline": True} | scores
        rows = [row("var", value, abs(value), guidance=123.456789) | extreme]
        rows += [row("diffusion", value, abs(value), steps=100_000, guidance=1e-7) | extreme]
        controls = {"a_control_with_a_very_long_name_indeed": {"fd": value} | scores}
        settings = {"extractor": "a-network-with-a-name-that-is-far-too-long-for-any-column"}
        table = report(rows, controls=controls, settings=settings).table()
        assert max(len(line) for line in table.splitlines()) <= 100

    def test_never_says_fid(self):
        assert "FID" not in typical().table() + " ".join(verdict(typical()))


class TestJson:
    def test_round_trip(self, tmp_path):
        given = typical()
        given.to_json(tmp_path / "report.json")
        assert Report.from_json(tmp_path / "report.json") == given
        assert [path.name for path in tmp_path.iterdir()] == ["report.json"]

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_nan_is_refused_and_the_old_file_stays(self, tmp_path, value):
        path = tmp_path / "report.json"
        given = typical()
        given.to_json(path)
        before = path.read_bytes()
        given.tokenizer["usage_by_scale"][1] = value
        with pytest.raises(UserError, match=r"tokenizer\.usage_by_scale\[1\] must be a finite number"):
            given.to_json(path)
        assert path.read_bytes() == before
        with pytest.raises(UserError, match=r"results\[0\]\.fd must be a finite number"):
            report([row("var", value, 0.4)])

    def test_what_json_cannot_hold_is_refused(self, tmp_path):
        with pytest.raises(UserError, match=r"environment\.place must be .* got PosixPath"):
            report([], environment={"place": tmp_path}).to_json(tmp_path / "report.json")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda c: c["results"][0].pop("recall"), r"results\[0\]: key 'recall' is missing"),
            (lambda c: c["results"][0].update(recal=1), "unknown key 'recal'; did you mean 'recall'"),
            (
                lambda c: c["results"][1].update(sampler="dddim"),
                r"results\[1\]\.sampler: unknown 'dddim'; did you mean 'ddi",
            ),
            (lambda c: c["results"][0].update(steps=4.5), r"results\[0\]\.steps must be an integer, got 4.5"),
            (lambda c: c["results"][0].update(fd="0.3"), r"results\[0\]\.fd must be a finite number, got '0.3'"),
            (lambda c: c["results"][0].update(recall=66.0), r"results\[0\]\.recall is a share in \[0, 1\], got 66"),
            (lambda c: c["results"][0].update(samples=500), r"one number of samples, got \[500, 1000\]"),
            (lambda c: c["results"][0].update(seconds_per_1000_images=0), "must be positive, got 0"),
            (lambda c: c["controls"]["real_test"].pop("fd"), r"controls\.real_test\.fd must be a finite number"),
            (lambda c: c["controls"].update(real_test=3), "controls must be an object"),
            (lambda c: c["tokenizer"].pop("codes_used"), r"tokenizer\.codes_used, which is missing"),
            (lambda c: c["tokenizer"]["usage_by_scale"].pop(), r"one entry per scale, got \[3, 2, 3\]"),
            (lambda c: c["settings"].pop("extractor"), "must name the feature network, got None"),
            (lambda c: c.update(resluts=[]), "unknown key 'resluts'; did you mean 'results'"),
            (lambda c: c.pop("settings"), "key 'settings' is missing"),
            (lambda c: c.update(results={}), "results must be a list of objects, got dict"),
        ],
    )
    def test_reading_is_strict_and_names_the_file(self, tmp_path, change, message):
        path = tmp_path / "report.json"
        typical().to_json(path)
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))
        with pytest.raises(UserError, match=message) as caught:
            Report.from_json(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("text", ["", "[1]", '{"results": [NaN]}', '{"results"'])
    def test_broken_files_are_named(self, tmp_path, text):
        path = tmp_path / "report.json"
        path.write_text(text)
        with pytest.raises(UserError, match=r"report\.json"):
            Report.from_json(path)
        with pytest.raises(UserError, match="missing"):
            Report.from_json(tmp_path / "missing.json")


class TestFairness:
    def test_the_noise_of_the_ratio_stands_beside_it_where_seeds_were_drawn(self):
        given = typical()
        assert "the noise of the samples" not in said(given, "Speed at equal distance")
        scores = {
            model: ScoreReport(
                name=model,
                distance="FD-digits",
                sets=[{"path": str(number), "samples": 1000} for number in range(3)],
                scores={"fd": [mean * 0.95, mean, mean * 1.05]},
                extractor={"name": "digits", "digest": ""},
                reference={},
            ).to_dict()
            for model, mean in (("var", 0.5), ("diffusion", 0.3))
        }
        spread = replace(given, scores=scores)
        assert spread.relative_deviation("var") == pytest.approx(0.05)
        found = re.search(
            r"leaves a ratio from ([\d.]+) to ([\d.]+) \(16-84 %\)", said(spread, "Speed at equal distance")
        )
        assert found
        assert float(found[1]) < math.sqrt(4 * 2) / 0.4 < float(found[2])
        # In the other direction VAR is the faster one still, and the ratio stands the same way up.
        near = replace(spread, results=[*spread.results, row("var", 0.1, 1.6, guidance=2.0)])
        sentence = said(near, "Speed at diffusion's best distance")
        found = re.search(
            r"VAR is ([\d.]+) times as fast\); .* a ratio from ([\d.]+) to ([\d.]+) \(16-84 %\)", sentence
        )
        assert found
        assert 1 < float(found[2]) <= float(found[1]) <= float(found[3])

    def test_a_report_with_scores_survives_its_file(self, tmp_path):
        given = typical()
        given.to_json(tmp_path / "report.json")
        assert Report.from_json(tmp_path / "report.json") == given
        with pytest.raises(UserError, match="scores of var must be a whole report"):
            replace(given, scores={"var": {"name": "x"}})

    def test_equal_time(self):
        assert "no diffusion setting that was tried is as fast as VAR (0.400 s)" in said(typical(), "At equal time")
        slow = report([row("var", 0.5, 5.0, headline=True), *typical().rows("diffusion")])
        assert "within VAR's 5.00 s, diffusion's best is guided DDIM-20" in said(slow, "At equal time")

    def test_training_operations_are_told_where_they_were_counted(self):
        counted = [row | {"train_flops": 2.5e15 if row["model"] == "var" else 1e15} for row in typical().results]
        unequal = (
            "Caution. Training FLOPs are not equal: VAR took 2.5 PFLOP and diffusion 1 PFLOP, 2.5 times as many for VAR"
        )
        assert said(report(counted), "Caution.").startswith(unequal)
        assert "FLOP" not in said(typical(), "Budget")
        assert said(typical(), "Caution.").startswith("Caution. The operations of the trainings were not counted")
        equal = report([row | {"train_flops": 1e15} for row in counted])
        assert "Training took VAR 1 PFLOP and diffusion 1 PFLOP, equal within 10%." in said(equal, "Budget")
        assert not any(sentence.startswith("Caution") for sentence in verdict(equal))

    def test_var_is_held_to_the_best_of_diffusion_too(self):
        sentence = said(typical(), "Speed at diffusion's best distance: none of the VAR settings that were tried")
        assert (
            "reaches diffusion's best FD-digits of 0.300; the nearest, guided VAR (g=1.5), stays at 0.500" in sentence
        )
        near = report([*typical().results, row("var", 0.1, 1.6, guidance=2.0)])
        sentence = said(near, "Speed at diffusion's best distance: the fastest VAR setting that reaches")
        assert "guided VAR (g=2) with 0.100 in 1.60 s, against 10.0 s: VAR is 6.2 times as fast" in sentence
        # Half-way from 0.5 to 0.1, in the logarithm of the time.
        assert "to just that distance: VAR is 12 times as fast" in sentence

    def test_the_time_of_either_model_is_a_limit_for_the_other(self):
        assert "within diffusion's 10.0 s, VAR's best is guided VAR (g=1.5) with 0.500" in said(
            typical(), "At diffusion's time"
        )

    def test_each_model_has_its_own_front(self):
        assert said(
            typical(), "Front of VAR, 2 of 2 settings: unguided VAR (g=1) 0.700 in 0.200 s and guided VAR (g=1.5)"
        )
        assert "3 of 4 settings: guided DDIM-10 (g=1.5) 0.600 in 2.00 s, guided DDIM-20" in said(
            typical(), "Front of diffusion"
        )

    def test_an_image_costs_evaluations_and_operations_beside_seconds(self):
        costs = {"var": {"nfe": 8, "flops_per_image": 12e6}, "diffusion": {"nfe": 100, "flops_per_image": 3.1e9}}
        counted = report([row | costs[row["model"]] for row in typical().results])
        assert said(counted, "Speed:").endswith(
            " An image takes VAR 8 evaluations and 12 MFLOP, and diffusion 100 evaluations and 3.1 GFLOP."
        )
        assert "FLOP" not in said(typical(), "Speed:")
