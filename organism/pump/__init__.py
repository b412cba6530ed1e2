"""The loop that takes messages from mailboxes to handlers, and what happens when a handler fails."""
