"""The ``organism`` command: arguments in, an app or an HTTP client called, an exit code out."""
