"""``python -m contention``: the command line."""

from contention.cli import main

main()
