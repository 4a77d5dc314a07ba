"""The peers' own environments in ``.cache/peers``, made when they are first needed and again when their pins change."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from bench.data import ROOT

HOME = ROOT / ".cache" / "peers"
_SOURCES = Path(__file__).parent / "peers"
_LONGEST_S = 900


def python_of(peer: str) -> Path:
    """The interpreter of a peer's virtual environment, with what its requirements.txt pins."""
    home, pins = HOME / peer, _SOURCES / peer / "requirements.txt"
    if _is_stale(home, pins):
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
        command = [str(home / "bin" / "pip"), "install", "--quiet", "--requirement", str(pins)]
        subprocess.run(command, check=True, timeout=_LONGEST_S)
        _stamp(home, pins)
    return home / "bin" / "python"


def classpath_of(peer: str) -> str:
    """The compiled classes of a peer in Java and the jars that its pom.xml pins."""
    home, source = HOME / peer, _SOURCES / peer
    sources = [source / "pom.xml", *sorted(source.rglob("*.java"))]
    if _is_stale(home, *sources):
        need = ROOT / "tools" / "need.sh"
        subprocess.run([str(need), "mvn"], check=True)
        shutil.rmtree(home, ignore_errors=True)
        command = ["mvn", "-q", "-B", "-f", str(source / "pom.xml"), "compile", f"-Dout.dir={home}"]
        subprocess.run(command, check=True, timeout=_LONGEST_S)
        _stamp(home, *sources)
    return f"{home / 'target' / 'classes'}:{home / 'libs'}/*"


def pinned(peer: str, package: str) -> str:
    """The version of a package that a peer's requirements.txt names."""
    for line in (_SOURCES / peer / "requirements.txt").read_text().splitlines():
        name, _, version = line.partition("==")
        if name == package:
            return version
    raise LookupError(f"{peer} does not pin {package}")


def _is_stale(home: Path, *sources: Path) -> bool:
    stamp = home / "made-of"
    return not stamp.exists() or stamp.read_text() != _digest(*sources)


def _stamp(home: Path, *sources: Path) -> None:
    (home / "made-of").write_text(_digest(*sources))


def _digest(*sources: Path) -> str:
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
