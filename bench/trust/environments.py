"""Environments of their own for the peers, which pin what others need newer; made once, in the user's cache."""

import subprocess
import sys
import venv
from pathlib import Path

import msgspec
import platformdirs

from bench import litellm


class Peer(msgspec.Struct, frozen=True):
    """A side of the comparison.

    Attributes:
        name: For people.
        program: Its module in :mod:`bench.trust.sides`.
        distribution: What its version is the version of; organism's own unless given.
        requirement: What is installed into an environment of its own; none unless given.
    """

    name: str
    program: str
    distribution: str = "organism"
    requirement: str = ""


PEERS = (
    Peer("organism", "organism_gateway"),
    Peer("check, then charge", "check_then_charge"),
    Peer("LiteLLM's proxy", "litellm_proxy", "litellm", f"litellm[proxy]=={litellm.VERSION}"),
    Peer("pydantic-ai UsageLimits", "pydantic_ai", "pydantic-ai-slim", "pydantic-ai-slim[openai]==2.68.0"),
    Peer("agent-tokenops", "tokenops", "agent-tokenops", "agent-tokenops==2.0.1"),
)


class Absent(msgspec.Struct, frozen=True):
    """Why a peer is not there."""

    why: str


class Present(msgspec.Struct, frozen=True):
    """A peer that can be run.

    Attributes:
        python: The interpreter of its program.
        version: Its version.
    """

    python: str
    version: str


def provide(peer: Peer, *, install: bool = True) -> Present | Absent:
    """Return how a peer is run, after it was installed if it has to be and may be."""
    if not peer.requirement:
        return Present(sys.executable, _version(sys.executable, peer.distribution))
    home = _home(peer)
    python = str(home / "bin" / "python")
    if not (home / "bin" / "python").exists() or not _version(python, peer.distribution):
        if not install:
            return Absent("it is not installed")
        if why := _install(home, python, peer.requirement):
            return Absent(why)
    # LiteLLM's proxy is a program that a client of ours calls.
    return Present(sys.executable if peer.program == "litellm_proxy" else python, _version(python, peer.distribution))


def _home(peer: Peer) -> Path:
    if peer.program == "litellm_proxy":
        return litellm.HOME
    return Path(platformdirs.user_cache_path("organism")) / f"bench-{peer.requirement.replace('==', '-')}"


def _install(home: Path, python: str, requirement: str) -> str:
    """Make an environment; returns what went wrong."""
    venv.create(home, clear=True)
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", requirement]
    done = subprocess.run(pip, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else f"it could not be installed: {done.stderr.strip().splitlines()[-1][:200]}"


def _version(python: str, distribution: str) -> str:
    asks = f"import importlib.metadata; print(importlib.metadata.version({distribution!r}))"
    done = subprocess.run([python, "-c", asks], capture_output=True, text=True, check=False)
    return done.stdout.strip()
