"""What limits the calls to one provider: circuit breaker, concurrency, rate, backoff."""
