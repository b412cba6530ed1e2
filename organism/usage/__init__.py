"""What happened: events, their fan-out to listeners, and sums over them."""
