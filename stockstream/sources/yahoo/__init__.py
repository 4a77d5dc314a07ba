"""Yahoo Finance's streamer: snapshots of the last price, at most about one a second and symbol."""
