"""One drawing at a time for each open page: a click while it is busy is answered in words."""

import functools
from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any

import gradio as gr

from var.app.controls import Seeded, next_seed
from var.app.messages import told
from var.errors import UserError


class Turn:
    """Whether something is drawn for a page; each has its own, in a `gr.State`."""

    busy = False

    def begin(self) -> None:
        """Take it; raises `UserError` while it is taken."""
        if self.busy:
            raise UserError("one thing is drawn at a time, and this page is still busy; click again when it is done")
        self.busy = True

    def end(self) -> None:
        """Give it back."""
        self.busy = False


def in_turn(work: Callable[..., Any]) -> Callable[..., Any]:
    """`work` with a `Turn` as another first argument, which is busy until the work ends; mistakes are told."""

    def carry_out(turn: Turn, *arguments: Any) -> Any:
        turn.busy = True
        try:
            return told(work)(*arguments)
        finally:
            turn.end()

    functools.update_wrapper(carry_out, work)
    own = signature(work)  # by which gradio finds what shows progress
    first = Parameter("turn", Parameter.POSITIONAL_OR_KEYWORD)
    carry_out.__signature__ = own.replace(parameters=[first, *own.parameters.values()])  # pyright: ignore[reportFunctionMemberAccess]
    return carry_out


def when_clicked(
    button: gr.Button,
    turn: gr.State,
    seed: Seeded,
    works: Sequence[tuple[Callable[..., Any], Sequence[Any]]],
    inputs: Sequence[Any],
) -> None:
    """Let a click choose its seed and then do the `works`, each of which fills its outputs, the first of them shown."""

    @told
    def begin(turn: Turn, number: float | None, renew: bool) -> float | None:
        turn.begin()
        return next_seed(number, renew)

    controls = [turn, seed.seed, seed.renew]
    # Every click is looked at: gradio would drop those that come too early without a word.
    event = button.click(begin, controls, seed.seed, show_progress="hidden", trigger_mode="multiple")
    for work, outputs in works:
        how = {"show_progress_on": outputs[0], "concurrency_id": "model", "trigger_mode": "multiple"}
        event = event.success(in_turn(work), [turn, *inputs], list(outputs), **how)
        event.failure(Turn.end, turn, queue=False, show_progress="hidden")  # where too many wait, no work is begun
