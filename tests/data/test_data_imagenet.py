"""ImageNet's class names: known ones, and how requests find them."""

import pytest

from var.data.imagenet import imagenet_class_names
from var.errors import UserError
from var.sampling.labels import label_of


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("tench", 0),
        ("Tinca tinca", 0),
        ("golden retriever", 207),
        ("Golden_Retriever", 207),
        ("  golden   retriever ", 207),
        ("tabby cat", 281),
        ("great-white-shark", 2),
        ("great white shark, white shark, man-eater, man-eating shark, Carcharodon carcharias", 2),
        ("crayfish", 124),  # the main name of one class and a synonym of another
        ("partridge", 86),
        ("maillot, tank suit", 639),
        ("tank suit", 639),
        ("toilet tissue", 999),
        ("207", 207),
    ],
)
def test_names_and_synonyms(name, label):
    assert label_of(name, 1000, imagenet_class_names()) == label


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("crane", r"got 'crane', which is 134 \(crane\), 517 \(crane\); pass the number"),
        ("maillot", r"638 \(maillot\), 639 \(maillot, tank suit\)"),
        ("panda", "387 .* 388 "),
        ("golden retreiver", "known classes, got 'golden retreiver'; did you mean 'golden retriever'"),
        ("siberian_husky dog", "did you mean 'Siberian husky'"),
        ("xyzzy", "got 'xyzzy'; see the pipeline's class_names"),
        ("1000", r"must lie in \[0, 1000\), got 1000"),
    ],
)
def test_names_that_mean_no_class_or_several(name, message):
    with pytest.raises(UserError, match=message) as caught:
        label_of(name, 1000, imagenet_class_names())
    assert "\n" not in str(caught.value)


def test_every_class_but_the_two_cranes_can_be_named():
    names = imagenet_class_names()
    assert len(names) == 1000
    lost = []
    for label, name in enumerate(names):
        try:
            assert label_of(name, 1000, names) == label
        except UserError:
            lost.append(label)
    # One word each: two cranes, and the garment of each pair that has no synonym.
    assert lost == [134, 474, 517, 638]
