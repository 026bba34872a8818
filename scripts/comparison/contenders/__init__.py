"""The families of models that are compared unless more are asked for: a file for each, and an entry in the table."""

from collections.abc import Mapping, Sequence

from comparison.contenders.contender import Contender, ModelPlan, Setting, draws, shortened
from comparison.contenders.diffusion import DiffusionContender
from comparison.contenders.var import VARContender
from var.errors import UserError, chosen

CONTENDERS: dict[str, Contender] = {each.key: each for each in (VARContender(), DiffusionContender())}
"""By the name that `--models` and reports call them; the first one that is compared sets the measure of the others."""


def chosen_models(names: Sequence[str], table: Mapping[str, Contender] = CONTENDERS) -> list[str]:
    """The keys of the families `names`, in the order of the `table`; for none, of all but those for names only.

    Raises `UserError` for an unknown one and for one twice.
    """
    for name in names:
        chosen(name, table, "model")
    if len(set(names)) < len(names):
        raise UserError(f"each model may be named once, got {','.join(names)}; leave one out")
    return [key for key, each in table.items() if key in names or not (names or each.named_only)]


__all__ = ["CONTENDERS", "Contender", "ModelPlan", "Setting", "chosen_models", "draws", "shortened"]
