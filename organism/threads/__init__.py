"""The state of a conversation, and how it is kept."""
