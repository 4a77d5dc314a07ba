-- Every state of every candle that was published. Read the view, not this table: it shows one row a candle.
CREATE TABLE IF NOT EXISTS {database}.candles_store (
  symbol        LowCardinality(String),
  `interval`    LowCardinality(String),
  session       LowCardinality(String),
  window_start  DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  window_end    DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  open          Float64 CODEC(ZSTD(1)),
  high          Float64 CODEC(ZSTD(1)),
  low           Float64 CODEC(ZSTD(1)),
  close         Float64 CODEC(ZSTD(1)),
  volume        Nullable(Float64) CODEC(ZSTD(1)),
  vwap          Nullable(Float64) CODEC(ZSTD(1)),
  trades        Nullable(UInt64) CODEC(ZSTD(1)),
  is_closed     Bool CODEC(ZSTD(1)),
  version       UInt64 CODEC(Delta, ZSTD(1)),
  session_open  DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  session_close DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
  partial       Bool CODEC(ZSTD(1)),
  gap           Bool CODEC(ZSTD(1)),
  corrected     Bool CODEC(ZSTD(1)),
  state         LowCardinality(String),
  inserted_at   DateTime64(3, 'UTC') DEFAULT now64(3) CODEC(DoubleDelta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(window_start)
ORDER BY (symbol, `interval`, session, window_start);

CREATE VIEW IF NOT EXISTS {database}.candles AS
SELECT symbol, `interval`, session, window_start, window_end, open, high, low, close, volume, vwap, trades, is_closed,
       version, session_open, session_close, partial, gap, corrected, state
FROM {database}.candles_store FINAL;
