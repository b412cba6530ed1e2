"""What is spent beside model calls, and what is told of refusals of both."""
