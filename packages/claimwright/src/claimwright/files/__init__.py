"""Files of the outside world: rows in, rows out, bounded and exact. They know no database."""
