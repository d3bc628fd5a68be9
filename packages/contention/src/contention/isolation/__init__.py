"""PostgreSQL's isolation tests on any server, and what its isolation levels allow."""
