"""Commands whose exit code is an answer, as that of diff is: 0 yes, 1 no, 2 there is no answer."""

from __future__ import annotations

from typing import Any

import click

from stockstream.errors import AnsweredNo

_ASKED = "stockstream.asked"
_NO_ANSWER = 2


class Question(click.Command):
    """A command that ends with 1 only if the answer is no; `AnsweredNo` says that too. Whatever else it raises is 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        ctx.meta[_ASKED] = True
        return super().invoke(ctx)


def exit_code_of(ctx: click.Context, error: Exception) -> int:
    """The exit code of a command that raised ``error``: its own or 1, and of a question 2 unless the answer is no."""
    if ctx.meta.get(_ASKED) and not isinstance(error, AnsweredNo):
        return _NO_ANSWER
    code: int = getattr(error, "exit_code", 1)
    return code
