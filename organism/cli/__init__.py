"""The command line. Start reading at :mod:`organism.cli.commands`, the table of commands."""
