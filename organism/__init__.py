"""A message-bus actor runtime for LLM agents with hard budgets per conversation thread."""
