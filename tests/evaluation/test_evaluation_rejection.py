import pytest
import torch

from var.errors import UserError
from var.evaluation.sets.rejection import keep_most_confident

LOGITS = torch.tensor([[3.0, 0], [1, 0], [2, 0], [0, 5], [4, 0]])
LABELS = torch.tensor([0, 0, 0, 1, 1])


def test_the_surest_of_each_class_stay_in_order():
    assert keep_most_confident(LOGITS, LABELS, 0.5).tolist() == [0, 2, 3]
    assert keep_most_confident(LOGITS, LABELS, 0.6).tolist() == [0, 2, 3, 4]
    assert keep_most_confident(LOGITS, LABELS, 1).tolist() == [0, 1, 2, 3, 4]
    assert keep_most_confident(LOGITS, LABELS, 0.01).tolist() == [0, 3]


def test_confidence_is_a_probability_and_no_logit():
    logits = torch.tensor([[100.0, 100], [1, 0]])
    assert keep_most_confident(logits, torch.zeros(2, dtype=torch.int64), 0.5).tolist() == [1]


def test_ties_go_to_the_earlier_and_empty_sets_stay_empty():
    assert keep_most_confident(torch.zeros(4, 2), torch.zeros(4, dtype=torch.int64), 0.5).tolist() == [0, 1]
    assert keep_most_confident(LOGITS[:0], LABELS[:0], 0.5).tolist() == []


@pytest.mark.parametrize(
    ("logits", "labels", "share", "match"),
    [
        (LOGITS, LABELS, 0, "above 0 and at most 1, got 0"),
        (LOGITS, LABELS, 1.1, "at most 1, got 1.1"),
        (LOGITS, LABELS[:2], 0.5, "got 5 and 2"),
        (LOGITS, LABELS + 1, 0.5, "from 0 to 1, got 1 to 2"),
        (LOGITS * float("nan"), LABELS, 0.5, "finite"),
    ],
)
def test_bad_input_is_refused(logits, labels, share, match):
    with pytest.raises(UserError, match=match):
        keep_most_confident(logits, labels, share)
