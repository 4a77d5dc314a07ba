"""Ticks as columns with all their fields, verdict included: what the archive keeps of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stockstream.core.columns import QUOTE, Columns, Ints
from stockstream.core.verdict import Policy
from stockstream.models import Verdict

Numbers = NDArray[np.int32] | NDArray[np.int64] | NDArray[np.float64]

VERDICTS = tuple(Verdict)
_ACCEPTED = VERDICTS.index(Verdict.ACCEPTED)
_COLUMNS_BYTES = 14 * 8  # a tick: of what `Columns` has


class Texts(NamedTuple):
    """Texts of up to 63 bytes, in ``data`` each behind a byte that says how many bytes it has."""

    data: bytes


class Coded(NamedTuple):
    """Texts of which many are equal: ``values[code]`` each, none where the code is -1."""

    codes: NDArray[np.integer[Any]]
    values: Sequence[str]


class Optional(NamedTuple):
    """Numbers of which some are missing; what stands in their places is zero."""

    numbers: Numbers
    present: NDArray[np.bool_]


Column = Numbers | Texts | Coded | Optional


@dataclass(frozen=True, slots=True)
class Archive:
    """Ticks of one partition in the order of their log.

    ``rest`` holds, by name, the fields that `Columns` lacks; where a field that may be null is missing, it is null in
    all ticks. ``verdicts`` are places in `VERDICTS`.
    """

    ticks: Columns
    rest: Mapping[str, Column]
    verdicts: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def place(self) -> Ints:
        """Where each stands in the records that they were read from."""
        return self.ticks.place

    @property
    def offset(self) -> Ints:
        """The place of each in the log."""
        return self.ticks.offset

    @property
    def size_bytes(self) -> int:
        """About how much memory it takes."""
        return len(self) * _COLUMNS_BYTES + sum(map(_size, self.rest.values()))


def _size(column: Column) -> int:
    if isinstance(column, Texts):
        return len(column.data)
    if isinstance(column, Optional):
        column = column.numbers
    return (column.codes if isinstance(column, Coded) else column).nbytes


def judged(columns: Columns, rest: Mapping[str, Column], policy: Policy) -> Archive:
    """The same with the verdicts that ``policy`` gives to each tick by itself."""
    verdicts = np.full(len(columns), _ACCEPTED, np.uint8)
    for index in np.flatnonzero(~policy.accepts(columns) | (columns.kind > QUOTE)).tolist():
        verdicts[index] = VERDICTS.index(policy.judge(columns.tick(index)))
    return Archive(columns, rest, verdicts)
