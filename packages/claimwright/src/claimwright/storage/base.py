"""What every table shares: one declarative base and the column types of the engine."""

from datetime import datetime

from sqlalchemy import BigInteger, DateTime
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """The base of all tables; the migrations, not this metadata, create the schema."""

    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy's own hook
        int: BigInteger,
        datetime: DateTime(timezone=True),
    }
