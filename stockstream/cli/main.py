"""The command group, and the edge where errors become one line on stderr and an exit code."""

from __future__ import annotations

import logging
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from stockstream.cli.question import exit_code_of
from stockstream.errors import StockstreamError
from stockstream.loading import loading
from stockstream.logs import Repeats

COMMANDS = (
    "api-key",
    "calendar",
    "candles",
    "compare",
    "dead-letters",
    "demo",
    "doctor",
    "explain",
    "produce",
    "replay",
    "schema",
    "settings",
    "subscribe",
)
"""Each is the object ``command`` of a module (`module_of`), imported when it is needed."""

_INTERRUPTED = 130


class Edge(click.Group):
    """A group of lazily imported commands that ends with an exit code.

    0 done, 1 failed, 2 bad usage or settings, 130 Ctrl+C; of a `Question` 0 yes, 1 no, 2 no answer for any reason.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name."""
        if cmd_name not in COMMANDS:
            return None
        with loading():
            command: click.Command = import_module(module_of(cmd_name)).command
        return command

    def main(self, args: Sequence[str] | None = None, *positional: Any, **options: Any) -> Any:
        """Run and exit; never returns."""
        try:
            code = super().main(args, *positional, **{**options, "standalone_mode": False})
        except click.ClickException as error:
            command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "stockstream"
            _say(f"{error.format_message()} (see {command} --help)")
            code = error.exit_code
        except click.Abort:
            code = _INTERRUPTED
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what it raises becomes one line on stderr."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except StockstreamError as error:
            if ctx.params["debug"]:
                traceback.print_exception(error)
            else:
                _say(str(error))
            ctx.exit(exit_code_of(ctx, error))
        except Exception as error:
            if ctx.params["debug"]:
                traceback.print_exception(error)
            else:
                _say(f"unexpected {type(error).__name__}: {error} (stockstream --debug shows where)")
            ctx.exit(exit_code_of(ctx, error))


def module_of(command: str) -> str:
    """Where a command is: beside this module, by its name with _ for -."""
    return f"stockstream.cli.{command.replace('-', '_')}"


def _say(text: str) -> None:
    click.echo(f"stockstream: {' '.join(text.split())}", err=True)


class _Lines(logging.Handler):
    """Warnings as lines on stderr, as errors are shown."""

    def emit(self, record: logging.LogRecord) -> None:
        _say(record.getMessage())


def _set_up_logging(debug: bool) -> None:
    lines = _Lines()
    if not debug:
        # Clients log each attempt of theirs; what came of it is our error, told once.
        lines.addFilter(logging.Filter("stockstream"))
        lines.addFilter(Repeats())
    logging.getLogger("aiokafka.conn").setLevel(logging.INFO)  # below, it shows requests, and in one is the password
    logging.basicConfig(handlers=[lines], level=logging.DEBUG if debug else logging.WARNING)


@click.command(cls=Edge, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="stockstream", message="%(package)s %(version)s")
@click.option("--debug", is_flag=True, help="Show where an error comes from.")
def main(debug: bool) -> None:
    """Live market data in, exact candles out.

    Exit codes: 0 done, 1 failed, 2 bad usage or settings, 130 Ctrl+C. compare, doctor, schema and dead-letters replay
    keep 1 for what they found: they end with 2 when they could not find out, as when a server is away.
    """
    _set_up_logging(debug)
