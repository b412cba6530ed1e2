"""What an agent is and what it can do: the contract, the context of one message, and the LLM agent."""
