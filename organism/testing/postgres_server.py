"""A real PostgreSQL server for tests: in a temporary folder, killed and started again at will, ended by its pid."""

from organism.stores.postgres.loopback_server import PostgresServer, postgres_binaries

__all__ = ["PostgresServer", "postgres_binaries"]
