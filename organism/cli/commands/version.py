"""``organism version``."""

from organism import __version__
from organism.cli.options import Json
from organism.cli.output import print_answer


def version(*, json: Json = False) -> int:
    """Print the version."""
    return print_answer({"version": __version__}, __version__, as_json=json)
