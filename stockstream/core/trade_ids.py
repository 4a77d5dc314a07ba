"""A set of trade ids as sorted ranges, which for the dense ids of most venues is one range."""

from __future__ import annotations

from bisect import bisect_right


class TradeIds:
    """The ids seen; ``bounds`` holds first, last, first, last, … of ranges that neither touch nor overlap."""

    __slots__ = ("bounds",)

    def __init__(self, bounds: list[int] | None = None) -> None:
        self.bounds: list[int] = [] if bounds is None else bounds

    def add(self, trade_id: int) -> bool:
        """Whether the id is new; it is in the set afterwards."""
        bounds = self.bounds
        if not bounds or trade_id > bounds[-1] + 1:
            bounds += (trade_id, trade_id)
            return True
        if trade_id == bounds[-1] + 1:
            bounds[-1] = trade_id
            return True
        return self._insert(trade_id)

    def extend(self, ranges: list[int]) -> bool:
        """Add ranges, as ``bounds`` holds them, if all of them lie above what is there; False if they do not."""
        bounds = self.bounds
        if not bounds or not ranges or ranges[0] > bounds[-1] + 1:
            bounds += ranges
            return True
        if ranges[0] <= bounds[-1]:
            return False
        bounds[-1:] = ranges[1:]
        return True

    def _insert(self, trade_id: int) -> bool:
        bounds = self.bounds
        at = bisect_right(bounds, trade_id)
        if at % 2 or (at and bounds[at - 1] == trade_id):
            return False
        after_last = at > 0 and bounds[at - 1] == trade_id - 1
        before_next = bounds[at] == trade_id + 1
        if after_last and before_next:
            del bounds[at - 1 : at + 1]
        elif after_last:
            bounds[at - 1] = trade_id
        elif before_next:
            bounds[at] = trade_id
        else:
            bounds[at:at] = [trade_id, trade_id]
        return True

    def __contains__(self, trade_id: int) -> bool:
        at = bisect_right(self.bounds, trade_id)
        return at % 2 == 1 or (at > 0 and self.bounds[at - 1] == trade_id)

    def __bool__(self) -> bool:
        return bool(self.bounds)
