"""``stockstream demo`` as a user runs it: a process, a page on a port, Ctrl+C."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stockstream.cli.demo.source import SYMBOLS
from stockstream.testing.process import HOST, free_ports
from stockstream.testing.wait import wait_until

REFERENCES = Path(__file__).parents[1] / "data" / "xrp_eth_2019"
START_S = 90
END_S = 20  # on a busy machine; else about two

# Read by a process of its own: an engine cannot be opened twice in one.
READ = """
import json, sys, clickhouse_connect
client = clickhouse_connect.get_client(interface="chdb", path=sys.argv[1])
print(json.dumps([list(row) for row in client.query(sys.argv[2]).result_rows]))
client.close()
"""


class Demo:
    """One run of the command."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.port = free_ports(1)[0]
        self.said = folder / f"said-{self.port}.txt"
        with self.said.open("wb") as said:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "stockstream", "demo", "--port", str(self.port), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                cwd=folder,
                env={name: value for name, value in os.environ.items() if not name.startswith("STOCKSTREAM_")}
                | {"TMPDIR": str(folder)},  # what a run that is killed leaves behind goes with the test
            )

    def wait_started(self) -> None:
        wait_until(lambda: self.running and f"http://{HOST}:{self.port}/" in self.text, START_S, "the page to be told")

    @property
    def running(self) -> bool:
        assert self.process.poll() is None, self.text
        return True

    @property
    def text(self) -> str:
        return self.said.read_text()

    def latest(self) -> list[Any]:
        with urllib.request.urlopen(f"http://{HOST}:{self.port}/latest", timeout=10) as answer:
            return list(json.load(answer)["latest"])

    def minutes(self, symbol: str) -> list[Any]:
        return self.candles(symbol, "1m")

    def candles(self, symbol: str, interval: str) -> list[Any]:
        path = f"/candles/{symbol}?interval={interval}"
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=10) as answer:
                return list(json.load(answer)["candles"])
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404:  # no tick of it yet
                    return []
            raise

    def worker(self) -> int:
        """The worker's process."""
        found = []
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                if f"\nPPid:\t{self.process.pid}\n" in status.read_text():
                    found.append(int(status.parent.name))
            except OSError:
                continue
        (pid,) = found
        return pid

    def end(self, number: signal.Signals, timeout_s: float = END_S) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout_s)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Any]:
    started: list[Demo] = []

    def begin(*arguments: str) -> Demo:
        started.append(Demo(tmp_path, *arguments))
        return started[-1]

    yield begin
    for demo in started:
        if demo.process.poll() is None:
            demo.end(signal.SIGKILL)  # its worker ends with it


def sql(folder: Path, query: str) -> list[list[Any]]:
    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder / "clickhouse"), query], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    rows: list[list[Any]] = json.loads(done.stdout)
    return rows


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.timeout(240)
def test_real_trades_become_the_reference_candles_and_are_kept(start: Any, tmp_path: Path) -> None:
    data = tmp_path / "kept"
    arguments = ["--replay", "sample", "--speed", "max", "--exit-when-done", "--data", str(data)]
    for run in range(2):  # the second one into what the first has left
        demo = start(*arguments)
        assert demo.process.wait(START_S) == 0, demo.text
        assert "Traceback" not in demo.text
        assert "dead letters" not in demo.text
        for interval in ("1m", "5m"):
            with (REFERENCES / f"candles_{interval}.csv").open() as file:
                expected = {
                    int(row["start_ms"]): [float(row[name]) for name in ("open", "high", "low", "close", "volume")]
                    for row in csv.DictReader(file)
                }
            rows = sql(
                data,
                "SELECT toUnixTimestamp64Milli(c.window_start), c.open, c.high, c.low, c.close, c.volume, c.is_closed, "
                "c.version FROM stockstream.candles AS c WHERE c.symbol = 'BINANCE:XRPETH' "
                f"AND c.interval = '{interval}'",
            )
            found = {row[0]: [*row[1:5], pytest.approx(row[5], abs=1e-6)] for row in rows}
            assert found == expected
            assert len(rows) == len(found)
            assert all(is_closed for *_, is_closed, _ in rows)
            assert {version >> 56 for *_, version in rows} == {run}
            assert re.search(rf"{interval} +1 +{len(expected):,} +{len(expected):,} ", demo.text)


@pytest.mark.timeout(240)
def test_candles_of_300_symbols_form_until_ctrl_c(start: Any) -> None:
    demo = start()
    demo.wait_started()
    wait_until(lambda: len(demo.latest()) == SYMBOLS, 60, "every symbol's price")

    def forming() -> bool:
        candles = demo.minutes("AAPL")
        return bool(candles) and candles[-1]["volume"] > 0

    wait_until(forming, 60, "a candle to form")
    with urllib.request.urlopen(f"http://{HOST}:{demo.port}/", timeout=10) as page:
        assert b"<title>stockstream" in page.read()
    second = start("--port", str(demo.port))
    assert second.process.wait(START_S) == 1
    assert second.text == (
        f"stockstream: port {demo.port} of {HOST} is taken: end who holds it, or set --port to a free one\n"
    )
    worker = demo.worker()
    assert demo.end(signal.SIGINT) == 130
    assert is_gone(worker)
    assert "Traceback" not in demo.text
    assert "killed" not in demo.text
    assert re.search(r"\n[\d,]+ ticks in the archive", demo.text)
    assert re.search(r"\n 1m +\d+ +\d+", demo.text)
    assert re.search(r"\n 1d +\d+ +\d+", demo.text)


@pytest.mark.timeout(300)
def test_a_day_goes_on_in_the_next_run_on_the_same_data(start: Any, tmp_path: Path) -> None:
    def day() -> tuple[str, float, float]:
        ((label, opened, volume),) = sql(
            tmp_path / "kept",
            "SELECT toString(c.window_start), c.open, c.volume FROM stockstream.candles AS c "
            "WHERE c.symbol = 'AAPL' AND c.interval = '1d' ORDER BY c.window_start LIMIT 1",
        )
        return label, opened, volume

    def volume_of(demo: Demo) -> float:
        return sum(candle["volume"] or 0 for candle in demo.candles("AAPL", "1d"))

    days: list[tuple[str, float, float]] = []
    for _ in range(2):
        demo = start("--data", str(tmp_path / "kept"))
        demo.wait_started()
        known = days[-1][2] if days else 0.0  # what was kept is shown before anything new
        wait_until(lambda demo=demo, known=known: volume_of(demo) > known, 60, "AAPL to be traded")
        second = start("--data", str(tmp_path / "kept"))
        assert second.process.wait(START_S) == 1
        assert second.text.count("\n") == 1
        assert "another worker runs on the data folder" in second.text
        assert "--data" in second.text
        assert demo.end(signal.SIGTERM) == 128 + signal.SIGTERM
        days.append(day())
    assert days[0][:2] == days[1][:2]
    assert days[0][2] < days[1][2]


@pytest.mark.timeout(180)
def test_neither_process_outlives_the_other(start: Any) -> None:
    demo = start()
    demo.wait_started()
    first = demo.worker()
    os.kill(first, signal.SIGKILL)
    assert demo.process.wait(END_S) == 1
    assert "stockstream: the worker has ended" in demo.text
    assert "Traceback" not in demo.text

    demo = start()
    demo.wait_started()
    worker = demo.worker()
    demo.end(signal.SIGKILL)
    wait_until(lambda: is_gone(worker), END_S, "the orphan to end")


@pytest.fixture
def heeded() -> Iterator[None]:
    """The tests may run under nohup, which a command inherits and respects."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_end_before_it_has_begun_leaves_nothing(start: Any, tmp_path: Path, number: signal.Signals) -> None:
    demo = start()
    wait_until(lambda: demo.running and list(tmp_path.glob("stockstream-demo-*/worker.log")), START_S, "the worker")
    assert demo.end(number) == 128 + number
    assert "Traceback" not in demo.text
    assert ("\n0 ticks in the archive" in demo.text) is (number is signal.SIGINT)  # a closed terminal is told nothing
    assert list(tmp_path.glob("stockstream-demo-*")) == []


@pytest.mark.timeout(180)
def test_every_day_of_a_file_is_closed_whatever_its_order_and_what_was_there(start: Any, tmp_path: Path) -> None:
    """The first run leaves a day open; the second has the newest trade first, and five days of them."""
    data = tmp_path / "kept"
    day_ms, first_ms = 86_400_000, 1_571_011_200_000
    header = "event_ms,trade_id,price,size,symbol\n"
    (tmp_path / "later.csv").write_text(header + f"{first_ms + 5 * day_ms},9,2,3,A\n")
    (tmp_path / "earlier.csv").write_text(
        header
        + "".join(f"{first_ms + hour * 3_600_000},{hour + 1},2,3,A\n" for hour in range(120, 0, -12))
        + f"{first_ms + day_ms},7,2,3,B\n"
        + f"{first_ms + day_ms},8,2e15,3,B\n"  # no price
        + f"{first_ms},8,2e15,3,C\n"
    )
    later = start("--replay", "later.csv", "--data", str(data))
    wait_until(lambda: later.running and "has been played" in later.text, START_S, "the file to be played")
    assert later.end(signal.SIGINT) == 130
    earlier = start("--replay", "earlier.csv", "--speed", "max", "--exit-when-done", "--data", str(data))
    assert earlier.process.wait(START_S) == 0, earlier.text
    assert "\n2 records became dead letters" in earlier.text
    days = sql(
        data,
        "SELECT c.symbol, c.is_closed, c.trades FROM stockstream.candles AS c WHERE c.interval = '1d' "
        "ORDER BY c.symbol, c.window_start",
    )
    assert days == [["A", True, 1], *[["A", True, 2]] * 4, ["A", True, 1], ["B", True, 1]]


def test_a_line_that_is_no_trade_ends_it_with_one_line(start: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("event_ms,trade_id,price,size\n1571000000000,1,2,3\n1571000000000,2,nan,3\n")
    bad = start("--replay", "bad.csv", "--exit-when-done")
    assert bad.process.wait(START_S) == 1
    assert "line 3" in bad.text.splitlines()[-1]
    assert "Traceback" not in bad.text
