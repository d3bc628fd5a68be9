"""The ground floor: tables, guards, requests and grants.

The SQL stands in files of its own beside this one, in the order in which it is run.
"""

from pathlib import Path
from typing import Any

from alembic import op
from sqlalchemy import text
from sqlalchemy.util import await_only

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_PARTS = ("tables", "guards", "requests", "grants")


def upgrade() -> None:
    """Create everything in the first schema of the search path."""
    connection = op.get_bind()
    schema = connection.execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    driver: Any = connection.connection.driver_connection  # takes whole scripts
    for part in _PARTS:
        sql = Path(__file__).with_name(f"0001_{part}.sql").read_text(encoding="utf-8")
        await_only(driver.execute(sql.replace("{schema}", schema)))


def downgrade() -> None:
    """Refused: claims are never deleted, so their tables are not dropped either."""
    raise NotImplementedError("the ground floor has no way down: back up and create anew")
