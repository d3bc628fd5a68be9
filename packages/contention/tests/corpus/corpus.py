"""Every scenario of the corpus."""

from . import advisory, both_servers, inserts, keys, queues, snapshots, updates
from .scenario import Scenario

CORPUS: tuple[Scenario, ...] = (
    *updates.SCENARIOS,
    *inserts.SCENARIOS,
    *advisory.SCENARIOS,
    *snapshots.SCENARIOS,
    *queues.SCENARIOS,
    *keys.SCENARIOS,
    *both_servers.SCENARIOS,
)
