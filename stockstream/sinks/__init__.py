"""Where candles and ticks are kept for good, and how they get there without loss."""
