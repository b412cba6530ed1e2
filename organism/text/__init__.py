"""Text from outside made harmless, and measured: errors, terminal output, secrets, tokens."""
