"""What happened, told to whoever listens: events, their fan-out, and sums over them."""
