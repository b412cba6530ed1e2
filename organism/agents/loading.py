"""Find the Python behind a ``package.module:name`` of the configuration."""

import importlib
import re
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from organism.errors import ConfigError
from organism.messages import Message
from organism.text.error_text import raised_at, text_of, with_type

_PATH = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):(?P<name>[A-Za-z_]\w*)")


def make_importable(folders: Iterable[Path]) -> None:
    """Let modules in these folders be imported, after everything installed so that they cannot shadow it.

    For as long as the process lives: a handler may import a module beside it when it runs, not only when it is loaded.
    """
    sys.path.extend(str(folder) for folder in folders if str(folder) not in sys.path)


def load(path: str) -> object:
    """Import what a path such as ``package.module:name`` names.

    Raises:
        ConfigError: If it is not of that form, the module does not import, or has nothing of that name.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise ConfigError(f"{path!r} is not of the form package.module:name")
    module_name, name = match["module"], match["name"]
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"module {module_name!r} does not import: {text_of(error)}; a module beside organism.yaml is found "
            f"when its folder is listed under 'python_path'"
        ) from error
    except BaseException as error:  # a script that calls sys.exit() must not end us without a word
        where = f" ({place})" if (place := raised_at(error)) is not None else ""
        raised = f"raised {type(error).__name__} when imported: {text_of(error)}{where}"
        raise ConfigError(f"module {module_name!r} {raised}") from error
    try:
        return getattr(module, name)
    except AttributeError:
        close = get_close_matches(name, vars(module), n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"module {module_name!r} has no {name!r}{hint}") from None
    except BaseException as error:  # a module may give its names by a function of its own
        raise ConfigError(f"module {module_name!r} does not give {name!r}: {with_type(error)}") from error


def load_message_type(path: str) -> type[Message]:
    """Import a message type named as ``package.module:Type``.

    Raises:
        ConfigError: If it does not import or is no message type.
    """
    found = load(path)
    if isinstance(found, type) and issubclass(found, Message):
        return found
    raise ConfigError(f"{path!r} is no message type: it must be a class derived from organism.Message")
