"""``python -m organism`` and the ``organism`` command."""

from organism.cli.app import main

if __name__ == "__main__":
    main()
