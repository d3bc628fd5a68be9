"""`claimwright init`: create or upgrade the schema."""

import asyncio

from claimwright.cli.output import AsJson, print_json, results
from claimwright.cli.running import database_errors_in_our_words, servers_of
from claimwright.settings import load_settings
from claimwright.storage.schema import newest_revision, upgrade


def init(*, as_json: AsJson = False) -> None:
    """Create or upgrade the schema; a second call changes nothing.

    Uses CLAIMWRIGHT_OWNER_DATABASE_URL where it is set, so that the application's own role
    can stay without the right to change the schema.
    """
    settings = load_settings()
    with servers_of(settings) as addresses:
        with database_errors_in_our_words():
            asyncio.run(upgrade(addresses.owner_database_url))
        folder = addresses.folder
    if as_json:
        print_json({"revision": newest_revision(), "folder": str(folder) if folder else None})
        return
    results.print(f"The schema is at revision {newest_revision()}.")
