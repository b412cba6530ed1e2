"""Commands that ask or order the running daemon, one module a group; they never open its files."""
