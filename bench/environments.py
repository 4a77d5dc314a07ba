"""The peers' own environments in ``.cache/peers``, made when they are first needed and again when their pins change."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from bench.data import ROOT

HOME = ROOT / ".cache" / "peers"
_BENCH = Path(__file__).parent
_LONGEST_S = 900


def python_of(folder: str) -> Path:
    """The interpreter of a peer's or a tool's virtual environment, with what its requirements.txt pins.

    ``folder`` is its place in ``bench``, as in ``peers/faust``.
    """
    home, pins = HOME / Path(folder).name, _BENCH / folder / "requirements.txt"
    if _is_stale(home, pins):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        command = [str(home / "bin" / "pip"), "install", "--quiet", "--requirement", str(pins)]
        subprocess.run(command, check=True, timeout=_LONGEST_S)
        _stamp(home, pins)
    return home / "bin" / "python"


def classpath_of(folder: str) -> str:
    """The compiled classes of a peer in Java and the jars that its pom.xml pins."""
    home, source = HOME / Path(folder).name, _BENCH / folder
    sources = [source / "pom.xml", *sorted(source.rglob("*.java"))]
    if _is_stale(home, *sources):
        need = ROOT / "tools" / "need.sh"
        subprocess.run([str(need), "mvn"], check=True)
        shutil.rmtree(home, ignore_errors=True)
        command = ["mvn", "-q", "-B", "-f", str(source / "pom.xml"), "compile", f"-Dout.dir={home}"]
        subprocess.run(command, check=True, timeout=_LONGEST_S)
        _stamp(home, *sources)
    return f"{home / 'target' / 'classes'}:{home / 'libs'}/*"


def _is_stale(home: Path, *sources: Path) -> bool:
    stamp = home / "made-of"
    return not stamp.exists() or stamp.read_text() != _digest(*sources)


def _stamp(home: Path, *sources: Path) -> None:
    (home / "made-of").write_text(_digest(*sources))


def _digest(*sources: Path) -> str:
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
