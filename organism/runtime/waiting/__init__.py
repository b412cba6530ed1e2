"""What waits: messages for budget or a person, threads for an operator, anything for its time."""
