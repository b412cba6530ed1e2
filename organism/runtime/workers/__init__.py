"""The tasks and OS threads that handlers run on."""
