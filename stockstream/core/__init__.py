"""The candle engine: plain functions over plain values, without I/O and without a clock."""
