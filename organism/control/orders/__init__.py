"""What an operator, or a program beside the agents, does to threads while they run."""
