"""What providers, router, gateway and agents all speak: requests, answers, and the port to a provider."""
