"""The daemon: an organism with its HTTP API, its gateway and its exporters, run until it is stopped."""
