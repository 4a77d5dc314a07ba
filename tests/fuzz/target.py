"""What is fuzzed: where its inputs come from, what takes them, and which refusals are its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fuzz.mutation import Corpus

Take = Callable[[bytes], object]
"""Takes an input; what it returns is true where the input was accepted."""
TakeAll = Callable[[Sequence[bytes]], int]
"""Takes many inputs at once; returns how many of them were accepted."""


class Wrong(AssertionError):
    """What was read contradicts itself: it cannot be written again, or another reader reads something else."""


@dataclass(frozen=True, slots=True)
class Target:
    """One reader of foreign bytes. ``open`` makes what takes inputs, anew for each run, given an empty folder.

    ``classified`` are the exceptions that its reader documents: no other may come out of it. ``inputs`` is how many
    a full run has, a million where an input takes some microseconds. ``is_batch``: it takes many at once.
    """

    name: str
    reads: str
    corpora: Callable[[], Sequence[Corpus]]
    open: Callable[[Path], Take | TakeAll]
    classified: tuple[type[BaseException], ...] = ()
    inputs: int = 1_000_000
    is_batch: bool = False


def of_both(first: object, second: object, what: str) -> None:
    """Raise `Wrong` if two readings differ; NaN is NaN."""
    if first != second and repr(first) != repr(second):
        raise Wrong(f"{what}: {first!r} and {second!r}"[:400])


@contextmanager
def accepted() -> Iterator[None]:
    """What is done with an input that was accepted: an error here is no refusal of it, of whatever type it is."""
    try:
        yield
    except Wrong:
        raise
    except Exception as error:
        raise Wrong(f"of what was accepted: {error!r}") from error
