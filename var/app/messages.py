"""Mistakes as messages in the page: the server goes on."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import gradio as gr

from var.errors import UserError, first_line

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def told(work: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """`work`, whose mistakes of the user, and too little memory, the page tells in the words of the error."""

    @functools.wraps(work)
    def carry_out(*arguments: Parameters.args, **named: Parameters.kwargs) -> Result:
        try:
            return work(*arguments, **named)
        except UserError as mistake:
            raise gr.Error(str(mistake), print_exception=False) from mistake
        except (MemoryError, RuntimeError) as error:
            if "memory" not in str(error).lower() and not isinstance(error, MemoryError):
                raise
            reason = f"the work must fit into memory, but: {first_line(error)}; ask for less at once"
            raise gr.Error(reason, print_exception=False) from error

    return carry_out
