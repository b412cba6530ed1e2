"""The journal in PostgreSQL: its tables, its one statement, and what servers are refused."""
