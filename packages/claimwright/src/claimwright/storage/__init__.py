"""PostgreSQL: tables, migrations and queries, one file per noun."""
