"""``python -m stockstream``."""

from stockstream.cli.main import main

main()
