"""Primitives of the event loop: wake-ups, worker threads of the runtime itself, tasks of foreign code."""
