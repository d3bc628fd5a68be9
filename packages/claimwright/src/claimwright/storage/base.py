"""What every table shares: one declarative base and the column types of the engine."""

from sqlalchemy import BigInteger
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """The base of all tables; the migrations, not this metadata, create the schema."""

    type_annotation_map = {int: BigInteger}  # noqa: RUF012 - SQLAlchemy's own hook
