"""What an operator does to threads while they run."""
