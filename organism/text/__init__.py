"""Text from outside made harmless: errors, terminal output, secrets."""
