"""The ``.env`` beside a configuration: variables that the process's own environment lacks.

Lines of ``NAME=value``, as shells and other tools read them; ``export`` before it, quotes around the value and comments
are understood, nothing is expanded. What stands there may be secret: no error, log line or ``repr`` shows a value.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from organism.config.file_reading import read_bounded
from organism.errors import ConfigError
from organism.text.plain_text import lines_of

_SIZE_MAX = 64 * 1024
_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_QUOTED = re.compile(r"""(?:"((?:[^"\\]|\\.)*)"|'([^']*)')\s*(?:#.*)?""")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_ROOT = 0


class DotEnv(Mapping[str, str]):
    """The variables of a ``.env``; it does not show their values.

    Attributes:
        exposed: Whether everybody on the machine can read the file.
    """

    def __init__(self, values: Mapping[str, str] | None = None, *, exposed: bool = False) -> None:
        self._values = dict(values or {})
        self.exposed = exposed

    def __getitem__(self, name: str) -> str:
        """Return a variable's value."""
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"DotEnv({', '.join(self._values)})"


def read_dotenv(path: Path) -> DotEnv:
    """Read a ``.env``; one that is not there has nothing in it.

    Raises:
        ConfigError: If it is no text of such lines, or others may change it: they could have us use their keys.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return DotEnv()
        _check_safe(path, status, os.geteuid())
        raw = read_bounded(path, _SIZE_MAX)
    except FileNotFoundError:
        return DotEnv()
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(raw) > _SIZE_MAX:
        raise ConfigError(f"larger than {_SIZE_MAX // 1024} KiB; it only sets variables", where=str(path))
    return DotEnv(dict(_variables(raw, path)), exposed=bool(status.st_mode & stat.S_IROTH))


def _check_safe(path: Path, status: os.stat_result, user: int) -> None:
    if status.st_uid not in (_ROOT, user):
        reason = f"it belongs to user {status.st_uid}, who could have us use any key; run: chown {user} on it"
        raise ConfigError(reason, where=str(path))
    if status.st_mode & stat.S_IWOTH:
        raise ConfigError("everybody can write it, and it sets keys; run: chmod 600 on it", where=str(path))


def _variables(raw: bytes, path: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = lines_of(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        wrong = raw[: error.start].count(b"\n") + 1
        raise ConfigError("not UTF-8 text", where=f"{path}:{wrong}") from None
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line or line.startswith("#"):
            continue
        if (found := _LINE.fullmatch(line)) is None:
            raise ConfigError("expected NAME=value", where=f"{path}:{number}")
        yield found[1], _value(found[2], f"{path}:{number}")


def _value(written: str, where: str) -> str:
    if written[:1] not in ("'", '"'):
        return re.split(r"(?:^|\s)#", written, maxsplit=1)[0].strip()
    quoted = _QUOTED.fullmatch(written)
    if quoted is None:
        raise ConfigError("a quote is not closed, or something follows it", where=where)
    if quoted[2] is not None:
        return quoted[2]
    return re.sub(r"\\(.)", lambda each: _ESCAPES.get(each[1], each[1]), quoted[1])
