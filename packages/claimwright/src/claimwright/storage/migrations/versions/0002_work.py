"""Work that is handed on: attempts, dead letters, chunks, a notice for the relay."""

from pathlib import Path
from typing import Any

from alembic import op
from sqlalchemy import text
from sqlalchemy.util import await_only

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and tables; requests that are pending stay so."""
    connection = op.get_bind()
    schema = connection.execute(text("SELECT quote_ident(current_schema())")).scalar_one()
    driver: Any = connection.connection.driver_connection  # takes whole scripts
    sql = Path(__file__).with_name("0002_work.sql").read_text(encoding="utf-8")
    await_only(driver.execute(sql.replace("{schema}", schema)))


def downgrade() -> None:
    """Refused: what has been handed on would be forgotten."""
    raise NotImplementedError("there is no way down: back up and create anew")
