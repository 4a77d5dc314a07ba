"""The command: its options, what it says, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
from click.core import ParameterSource
from rich.console import Console
from rich.text import Text

from stockstream.cli.columns import TIME_UNIT, parse_columns, parse_symbol
from stockstream.cli.demo.outcome import outcome_of, warm_up
from stockstream.cli.demo.source import (
    LIVE_SYMBOLS,
    SYMBOLS,
    Replay,
    a_file,
    made_up_market,
    yahoo,
)
from stockstream.cli.demo.system import HOST, System
from stockstream.cli.ending import Ending
from stockstream.cli.replay import parse_speed
from stockstream.core.row import MAX_EPOCH
from stockstream.errors import InvalidInput, StockstreamError
from stockstream.models import check_symbol
from stockstream.settings import split
from stockstream.sources.replay.files import open_recording
from stockstream.sources.replay.rows import DEFAULT_SYMBOL, Recording, TimeUnit
from stockstream.sources.replay.trades_file import SAMPLE, SAMPLE_SYMBOL
from stockstream.startup import check_port, claim

_EPOCHS = MAX_EPOCH + 1
_STATUS_EVERY_S = 1.0
_SILENCE_S = 10.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user wants."""

    port: int
    data: Path | None
    file: str | None
    symbol: str | None
    speed: float | None
    columns: Mapping[str, str]
    time_unit: TimeUnit | None
    live: bool
    symbols: tuple[str, ...]
    exit_when_done: bool


class _Console(Console):
    """Says nothing more once nobody reads it: a closed terminal, or a pipe, whose end is the demonstration's too."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(highlight=False, markup=False, soft_wrap=True)
        self._ending = ending

    def on_broken_pipe(self) -> None:
        self.quiet = True
        self._ending.take(signal.SIGPIPE)


def parse_symbols(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[str, ...]:
    """The symbols of a comma-separated list."""
    if text is None:
        return ()
    symbols = tuple(check_symbol(name) for name in split(text))
    if not symbols:
        raise click.BadParameter(f"{text!r} names none")
    return symbols


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=6066, show_default=True, help="Of the page.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="A folder that keeps the candles.")
@click.option("--replay", "file", metavar="FILE", help="Trades of a file instead; `sample` is the one in the package.")
@click.option("--symbol", callback=parse_symbol, help="Of a file without a symbol column; else the only one to replay.")
@click.option("--speed", callback=parse_speed, default="60", show_default=True, help="×N of a file's time, or max.")
@click.option("--columns", callback=parse_columns, help="The file's own column names: event_ms=time,price=px,…")
@TIME_UNIT
@click.option("--live", is_flag=True, help="Yahoo's own prices instead.")
@click.option(
    "--symbols", callback=parse_symbols, help=f"With --live. [default: {LIVE_SYMBOLS[0]},{LIVE_SYMBOLS[1]},…]"
)
@click.option("--exit-when-done", is_flag=True, help="With --replay: end once every candle is closed and saved.")
def command(
    port: int,
    data: Path | None,
    file: str | None,
    symbol: str | None,
    speed: float | None,
    columns: Mapping[str, str],
    time_unit: TimeUnit | None,
    live: bool,
    symbols: tuple[str, ...],
    exit_when_done: bool,
) -> None:
    """Show the whole system at work, with nothing else installed.

    A broker, a schema registry and ClickHouse's engine inside these processes, a worker, and its page: 300 symbols of a
    made-up market, Yahoo's own with --live, or a file's with --replay. Ctrl+C ends it. The candles are gone then,
    unless --data keeps them.
    """
    if live and file is not None:
        raise click.UsageError("--live and --replay are both given: keep one")
    if symbols and not live:
        raise click.UsageError("--symbols needs --live: the made-up market and a file have their own")
    if exit_when_done and file is None:
        raise click.UsageError("--exit-when-done needs --replay: nothing else has an end")
    has_speed = click.get_current_context().get_parameter_source("speed") is not ParameterSource.DEFAULT
    if file is None and (symbol or columns or time_unit or has_speed):
        raise click.UsageError("--symbol, --columns, --time-unit and --speed need --replay")
    asked = Asked(port, data, file, symbol, speed, columns, time_unit, live, symbols or LIVE_SYMBOLS, exit_when_done)
    click.get_current_context().exit(asyncio.run(_demo(asked)))


async def _demo(asked: Asked) -> int:
    """Run until the user, or the file, ends it; returns the exit code."""
    ending = Ending()
    console = _Console(ending)
    await check_port(HOST, asked.port, "--port")
    with _trades(asked) as trades, _folder(asked.data) as (folder, epoch):
        console.print("starting a broker, a schema registry, ClickHouse's engine and a worker …")
        running = asyncio.create_task(_run(asked, trades, folder, epoch, console))
        stop = asyncio.create_task(ending.asked.wait())
        await asyncio.wait((running, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        console.quiet = console.quiet or ending.code == 128 + signal.SIGHUP
        warming = asyncio.create_task(asyncio.to_thread(warm_up))
        if running.cancel():
            console.print("ending …")
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await warming
        _tell(folder, asked.data, console)
    return ending.code


async def _run(asked: Asked, trades: Recording | None, folder: Path, epoch: int, console: Console) -> None:
    """The system, and what drives it."""
    async with _variables(asked, folder) as extra, System(folder, asked.port, epoch, extra, console.print) as system:
        console.print(Text.assemble((f"{system.url}/", "bold"), f"  {_what(asked)}; Ctrl+C ends it"))
        supervising = asyncio.create_task(system.supervise())
        driving = asyncio.create_task(_drive(asked, trades, system, console))
        told = (_show(system, console), _tell_silence(system, console)) if asked.live else (_show(system, console),)
        tasks = [supervising, driving, *(asyncio.create_task(each) for each in told)]
        try:
            await asyncio.wait((supervising, driving), return_when=asyncio.FIRST_COMPLETED)
            for task in (supervising, driving):
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if letters := await system.dead_letters():
                console.print(f"{letters:,} records became dead letters: {system.log} says why (--data keeps it)")


@contextlib.asynccontextmanager
async def _variables(asked: Asked, folder: Path) -> AsyncIterator[dict[str, str]]:
    if asked.file is not None:
        yield a_file(folder / "replayed")
    elif asked.live:
        yield yahoo(asked.symbols)
    else:
        async with made_up_market() as extra:
            yield extra


async def _drive(asked: Asked, trades: Recording | None, system: System, console: Console) -> None:
    """Play the file, if there is one; then wait to be cancelled, unless that was all that was asked for."""
    if trades is not None:
        replay = Replay(system, trades, only=asked.symbol if trades.has_symbol else None, speed=asked.speed)
        await replay.run(close=asked.exit_when_done)
        if asked.exit_when_done:
            return
        console.print("the file has been played; the page stays until Ctrl+C")
    await asyncio.Event().wait()


def _trades(asked: Asked) -> contextlib.AbstractContextManager[Recording | None]:
    if asked.file is None:
        return contextlib.nullcontext()
    if asked.file == "sample":
        return open_recording(str(SAMPLE), asked.columns, asked.symbol or SAMPLE_SYMBOL, asked.time_unit)
    return open_recording(asked.file, asked.columns, asked.symbol or DEFAULT_SYMBOL, asked.time_unit)


async def _show(system: System, console: Console) -> None:
    """One line on a terminal that tells how it goes."""
    if not console.is_terminal:
        return
    began_s = time.monotonic()
    with console.status("") as status:
        while True:
            done, ends = await system.progress()
            status.update(f"{time.monotonic() - began_s:.0f} s, {ends:,} ticks, {ends - done:,} on their way")
            await asyncio.sleep(_STATUS_EVERY_S)


async def _tell_silence(system: System, console: Console) -> None:
    """Say, until the first tick has come, what the worker says of it: the page can only wait."""
    told = ""
    while True:
        await asyncio.sleep(_SILENCE_S)
        _, ends = await system.progress()
        if ends:
            return
        reason, _, _ = (system.warnings("WARNING", "ERROR") or [""])[-1].partition("; trying again")
        if reason != told:
            console.print(f"nothing has come yet: {reason}")
            told = reason


def _what(asked: Asked) -> str:
    if asked.file is not None:
        speed = "as fast as it goes" if asked.speed is None else f"{asked.speed:g} times as fast as they happened"
        return f"the trades of {asked.file}, {speed}"
    if asked.live:
        return f"{len(asked.symbols)} symbols at Yahoo, for personal use only"
    return f"{SYMBOLS} symbols of a made-up market"


@contextlib.contextmanager
def _folder(data: Path | None) -> Iterator[tuple[Path, int]]:
    """The folder, and how many runs it has served: each has a new broker, whose offsets begin again."""
    if data is None:
        with tempfile.TemporaryDirectory(prefix="stockstream-demo-") as made:
            yield Path(made), 0
        return
    kept = data.absolute()
    if set(str(kept)) & set("?#"):
        raise InvalidInput(
            f"{kept} has a ? or # in it, of which ClickHouse makes something else: set --data to another"
        )
    with claim(kept, "--data"):
        yield kept, _count_run(kept)


def _count_run(kept: Path) -> int:
    """How many runs there were before this one."""
    runs, counted = kept / "runs", kept / "runs.new"
    try:
        epoch = int(runs.read_text()) if runs.exists() else 0
        if epoch >= _EPOCHS:
            raise StockstreamError(f"{kept} has served {_EPOCHS} runs, which is all it can: set --data to a new folder")
        counted.write_text(str(epoch + 1))
        counted.replace(runs)  # never half written: a run that is counted anew would be taken for one that was
    except ValueError as error:
        raise InvalidInput(f"{runs} is not what a demonstration has left: set --data to a new folder") from error
    except OSError as error:
        raise StockstreamError(f"{kept} cannot be written ({error.strerror}): set --data to another") from error
    return epoch


def _tell(folder: Path, data: Path | None, console: Console) -> None:
    """The final counts."""
    outcome = outcome_of(folder / "clickhouse")
    console.print(f"{outcome.ticks:,} ticks in the archive, and candles of them:")
    console.print(outcome.table())
    if data is not None:
        console.print(f"kept in {folder / 'clickhouse'}: clickhouse_connect.get_client(interface='chdb', path=…)")
