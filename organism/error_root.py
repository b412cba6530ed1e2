"""The root of the tree of errors, and the error of arguments: what even the lowest modules raise. Pure."""

DISTRIBUTION = "organism-runtime"
"""The name on the package index: ``organism`` there is somebody else's."""


class OrganismError(Exception):
    """The root of the tree. Catch it to catch everything organism raises on purpose."""

    retryable: bool = False

    @property
    def sentences(self) -> tuple[str, ...]:
        """What it says, each thing to correct in a sentence of its own."""
        return (str(self),)


class ConfigError(OrganismError):
    """The configuration cannot be used.

    Attributes:
        reason: What is wrong and what to do about it.
        where: ``file:line:column`` or the name of the argument; ``None`` when it has no place.
        path: The key's path inside the file, such as ``agents.writer.model``.
        more: What else is wrong with the same file, in its order.
        sentence: The error without the others: its place, its path and its reason; the string has all.
    """

    def __init__(
        self, reason: str, *, where: str | None = None, path: str | None = None, more: "tuple[ConfigError, ...]" = ()
    ) -> None:
        self.reason = reason
        self.where = where
        self.path = path
        self.more = more
        self.sentence = ": ".join(part for part in (where, path, reason) if part)
        super().__init__("\n".join(self.sentences))

    @property
    def sentences(self) -> tuple[str, ...]:
        """The sentence of each mistake, in the order of the file."""
        return (self.sentence, *(each.sentence for each in self.more))


class AmountError(ConfigError, ValueError):
    """What was given as an amount of money or tokens is none."""


def install(requirement: str) -> str:
    """Return the command that installs something for the Python that runs, to be pasted into a shell.

    An environment made without pip is installed into by the pip of the Python that it was made with. That is named by
    its path: where the environment is active, ``python3`` is the one without pip.
    """
    import shlex
    import sys
    from importlib.util import find_spec
    from pathlib import Path

    here = sys.executable or "python3"
    if find_spec("pip") is not None:
        return shlex.join((here, "-m", "pip", "install", requirement))
    base = Path(sys.base_prefix, "bin", "python3")
    python = str(base) if base.is_file() else "python3"
    return shlex.join((python, "-m", "pip", "--python", here, "install", requirement))


class MissingExtraError(ConfigError):
    """A feature needs an optional package.

    Attributes:
        extra: The extra to install.
    """

    def __init__(self, feature: str, extra: str) -> None:
        self.extra = extra
        super().__init__(f"{feature} needs a package that is not installed; run: {install(f'{DISTRIBUTION}[{extra}]')}")
