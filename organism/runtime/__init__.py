"""The message loop: opens threads, takes their messages to handlers, and ends them."""
