"""Real PostgreSQL and Valkey out of wheels, shared by every process that uses one folder.

Both servers listen on unix sockets in a folder that only one system user (and root) may enter;
neither listens on TCP. That folder is the access control: PostgreSQL trusts whoever reaches its
socket, for any role, so these servers are for one machine and one user, not for a network.
"""

from claimwright.embedded.addresses import ServerAddresses
from claimwright.embedded.databases import create_database, drop_database
from claimwright.embedded.servers import embedded_servers, temporary_servers

__all__ = [
    "ServerAddresses",
    "create_database",
    "drop_database",
    "embedded_servers",
    "temporary_servers",
]
