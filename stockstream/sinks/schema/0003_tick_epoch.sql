-- A topic that is created anew begins its offsets again: its ticks must not take the place of those before.
ALTER TABLE {database}.ticks
  ADD COLUMN IF NOT EXISTS epoch UInt8 CODEC(ZSTD(1)) AFTER `offset`,
  MODIFY ORDER BY (topic, `partition`, `offset`, epoch);
