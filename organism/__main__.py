"""``python -m organism`` is the ``organism`` command."""

from organism.cli import main

if __name__ == "__main__":
    main()
