from var.nested import differences, leaves


def test_leaves_have_dotted_names():
    assert dict(leaves({"a": {"b": 1, "c": {"d": (2,)}}, "e": None})) == {"a.b": 1, "a.c.d": (2,), "e": None}
    assert list(leaves({})) == []


def test_differences_are_named_in_order_with_both_values():
    first, second = {"a": {"b": 1, "c": 2}, "d": None, "e": 5}, {"a": {"b": 1, "c": 3}, "e": {"f": 1}, "g": 7}
    found = list(differences(first, second))
    assert found == [("a.c", 2, 3), ("e", 5, {"f": 1}), ("g", None, 7)]
    assert list(differences(first, first)) == []


def test_what_is_absent_is_none_unless_another_word_is_given():
    assert list(differences({"a": None}, {})) == []
    assert list(differences({"a": None}, {}, absent="not there")) == [("a", None, "not there")]
