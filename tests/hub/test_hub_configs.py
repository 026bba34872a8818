import json

import pytest
from tiny_models import TinyConfig, one_line

from var.hub import config_from_dict, config_to_dict


def test_config_round_trip_through_json():
    config = TinyConfig(width=4, rate=1e-4, bias=False, kind=3, name="x", sides=(1, (2, 3)), pair=("b", 2.0))
    back = config_from_dict(TinyConfig, json.loads(json.dumps(config_to_dict(config))))
    assert back == config
    assert isinstance(back.sides[1], tuple)


def test_whole_numbers_become_floats_where_a_float_is_asked():
    config = config_from_dict(TinyConfig, {"width": 4, "rate": 1, "pair": ["a", 2]})
    assert (type(config.rate), type(config.pair[1])) == (float, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"widht": 4}, "here: TinyConfig has no field 'widht'; did you mean 'width'"),
        ({}, "here: TinyConfig needs the field 'width', which is missing; add it"),
        ({"width": "4"}, "here: field 'width' must be a whole number, got '4'; correct it"),
        ({"width": 4.0}, "here: field 'width' must be a whole number, got 4.0"),
        ({"width": True}, "here: field 'width' must be a whole number, got True"),
        ({"width": None}, "here: field 'width' must be a whole number, got None"),
        ({"width": 4, "bias": 1}, "here: field 'bias' must be True or False, got 1"),
        ({"width": 4, "rate": "fast"}, "here: field 'rate' must be a finite number, got 'fast'"),
        ({"width": 4, "kind": "squre"}, "here: field 'kind' must be one of 'square', 'round', 3, got 'squre'"),
        ({"width": 4, "kind": 3.0}, "here: field 'kind' must be one of 'square', 'round', 3, got 3.0"),
        ({"width": 4, "name": 3}, r"here: field 'name' must be a text or None, got 3"),
        ({"width": 4, "sides": 3}, r"here: field 'sides' must be a list, each .*, got 3"),
        ({"width": 4, "sides": [1, [2, 3, 4]]}, r"here: field 'sides' must be .*, got \[1, \[2, 3, 4\]\]"),
        ({"width": 4, "pair": ["a"]}, r"here: field 'pair' must be a list of 2, a text, a finite number, got \['a'\]"),
        ({"width": 0}, "here: width must be positive, got 0; enlarge it"),
    ],
)
def test_wrong_configs_are_refused(values, message):
    with one_line(message):
        config_from_dict(TinyConfig, values, source="here")
