"""``python -m contention.isolation``: the commands of this room by themselves."""

from contention.isolation.cli import isolation

isolation(prog_name="python -m contention.isolation")
