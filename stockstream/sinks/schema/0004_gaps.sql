-- One row a hole, from the archive's gap and repair records, and what GET /gaps says of it (stockstream/tables/gaps.py).
-- Records that are stored twice are told apart by their places: FINAL would read the key of every tick for it.
-- Only spans that touch each other, or are linked by others that do, can matter to each other: such an island of them is
-- joined with itself. All spans of a symbol would be forty times as dear, with a thousand holes each.
-- A hole is cut at the bounds of the repairs behind it; a piece is mended by the first of them that covers it, and the
-- hole by the last of those. It is left out where a later record tells of it again, with the same bounds, or with greater
-- ones while it was open.
CREATE VIEW IF NOT EXISTS {database}.gaps AS
WITH
  ms -> fromUnixTimestamp64Milli(greatest(least(ms, 10413791999999), 0), 'UTC') AS time_of,
  spans AS (
    SELECT topic, `partition`, symbol, source, kind,
           bitOr(bitShiftLeft(toInt64(epoch), 55), toInt64(`offset`)) AS place,
           event_time AS low, ifNull(until, event_time) AS high,
           CAST((place, low, high, if(producer_timestamp = 0, event_time, producer_timestamp),
                 ifNull(nullIf(cause, ''), 'unknown')),
                'Tuple(place Int64, low Int64, high Int64, told Int64, cause String)') AS record
    FROM {database}.ticks
    WHERE kind IN ('gap', 'repair') AND verdict = 'accepted'
    LIMIT 1 BY topic, `partition`, place
  ),
  reached AS (
    SELECT *,
           row_number() OVER (PARTITION BY topic, `partition`, symbol ORDER BY low, place) = 1 AS is_first,
           max(high) OVER (PARTITION BY topic, `partition`, symbol ORDER BY low, place
                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reach
    FROM spans
  ),
  islands AS (
    SELECT *,
           countIf(is_first OR low > reach) OVER (PARTITION BY topic, `partition`, symbol ORDER BY low, place
                                                  ROWS UNBOUNDED PRECEDING) AS island
    FROM reached
  ),
  holes AS (
    SELECT h.topic AS topic, h.symbol AS symbol, h.record AS hole, any(h.source) AS source,
           arraySort(groupArrayIf(r.record, r.kind = 'repair')) AS repairs,
           groupArrayIf(r.record, r.kind = 'gap' AND r.place > h.place AND r.low <= h.low AND r.high >= h.high) AS retold
    FROM islands AS h
    JOIN islands AS r
      ON r.topic = h.topic AND r.`partition` = h.`partition` AND r.symbol = h.symbol AND r.island = h.island
    WHERE h.kind = 'gap' AND r.place >= h.place AND r.low <= h.high AND r.high >= h.low
    GROUP BY h.topic, h.`partition`, h.symbol, h.record
  ),
  mended AS (
    SELECT *,
           arraySort(arrayDistinct(arrayFilter(
             edge -> edge BETWEEN hole.low AND hole.high,
             arrayConcat([hole.low, hole.high], repairs.low, repairs.high)))) AS edges,
           arrayMap(at -> (edges[at], edges[least(at + 1, length(edges))]),
                    range(1, greatest(length(edges), 2))) AS pieces,
           repairs.low AS lows, repairs.high AS highs,
           arrayMap(piece -> arrayFirstIndex((low, high) -> low <= piece.1 AND high >= piece.2, lows, highs),
                    pieces) AS menders,
           has(menders, 0) AS is_open,
           repairs[arrayMax(menders)] AS last
    FROM holes
  )
SELECT symbol, source, topic,
       time_of(hole.low) AS from_time,
       time_of(hole.high) AS until_time,
       hole.cause AS cause,
       if(is_open, 'open', 'repaired') AS state,
       arraySum((piece, mender) -> if(mender = 0, piece.2 - piece.1, 0), pieces, menders) AS open_ms,
       time_of(hole.told) AS told_at,
       if(is_open, NULL, time_of(last.told)) AS repaired_at,
       if(is_open, NULL, last.cause) AS reason
FROM mended
WHERE NOT arrayExists(g -> is_open OR last.place > g.place OR (g.low = hole.low AND g.high = hole.high), retold);
