"""What the recordings of docs/ are made with: a real terminal, and texts without what differs from run to run."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

COLUMNS, LINES = 100, 50


class Terminal:
    """A shell in a tmux session of its own.

    Args:
        folder: Where it begins.
        home: The home folder, which is empty.
        extra: Variables of the environment besides.
    """

    def __init__(self, folder: Path, home: Path, extra: Mapping[str, str] | None = None) -> None:
        self._socket = f"organism-walk-{os.getpid()}"
        shell = shutil.which("bash") or "bash"
        prompt = f"tmux -L {self._socket} wait-for -S prompt"
        environment = {"PS1": "$ ", "HOME": str(home), "PROMPT_COMMAND": prompt, **(extra or {})}
        given = [f"{name}={value}" for name, value in environment.items()]
        size = ["-x", str(COLUMNS), "-y", str(LINES)]
        self.tmux("-f", "/dev/null", "new-session", "-d", *size, "-c", str(folder), "env", *given, shell, "--norc")
        self.tmux("wait-for", "prompt")
        self.run(f"export COLUMNS={COLUMNS}")

    def tmux(self, *arguments: str) -> str:
        """Give tmux an order."""
        command = ["tmux", "-L", self._socket, *arguments]
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)  # noqa: S603
        return done.stdout

    def run(self, line: str) -> str:
        """Type a line, wait for the next prompt, and return what stands there."""
        self.tmux("send-keys", "C-l")
        time.sleep(0.2)
        self.tmux("clear-history")
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")
        self.tmux("wait-for", "prompt")
        while (screen := self.screen()).splitlines()[-1:] != ["$"]:
            time.sleep(0.05)  # the prompt is announced a moment before it is there
        return screen

    def begin(self, line: str, until: str) -> str:
        """Type a line that does not come to an end by itself, and return the screen once it shows something."""
        self.tmux("send-keys", "C-l")
        time.sleep(0.2)
        self.tmux("send-keys", "-l", line)
        self.tmux("send-keys", "Enter")
        return self.until(until)

    def until(self, phrase: str) -> str:
        """Return the screen once it shows something."""
        deadline = time.monotonic() + 60
        while phrase not in (screen := self.screen()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{phrase!r} did not come; there is:\n{screen}")
            time.sleep(0.1)
        return screen

    def press(self, key: str) -> None:
        """Press a key."""
        self.tmux("send-keys", key)

    def screen(self) -> str:
        """Return what the terminal shows; a line that took several there is one."""
        return self.tmux("capture-pane", "-p", "-J").rstrip("\n ")

    def close(self) -> None:
        """End the session, and all that runs in it."""
        self.tmux("kill-server")


class Steady:
    """Makes the same of what differs from one recording to the next, without changing how wide it is."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """Return a text with everything that differs replaced."""
        text = text.replace(str(self._folder), "/srv/newsroom").replace(f"{sys.executable} -m ", "")
        text = re.sub(r"\b(th|msg|in)_([0-9a-f]{20})\b", self._name, text)
        text = re.sub(r"\b\d{4}-\d{2}-\d{2}([T ])\d{2}:\d{2}:\d{2}\.\d+", r"2026-01-31\g<1>12:00:00.000000", text)
        text = re.sub(r"\b\d{4}-\d{2}-\d{2}\b", "2026-01-31", text)
        text = re.sub(r"\b\d{4}-\d{2}(?=\b[^-])", "2026-01", text)
        text = re.sub(r"\b\d{2}:\d{2}:\d{2}\b", "12:00:00", text)
        text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8420", text)
        text = re.sub(r"session=[\w-]+", lambda found: f"session={'0' * (len(found[0]) - 8)}", text)
        text = re.sub(r"(\b[a-z]+_0*\d+\.\d+\.)[0-9a-f]{8}\b", r"\g<1>00000001", text)
        text = re.sub(r"_ns\":\d+", '_ns":0', text)
        return "\n".join(line.rstrip() for line in text.splitlines())

    def _name(self, found: re.Match[str]) -> str:
        return self._names.setdefault(found[0], f"{found[1]}_{len(self._names) + 1:020d}")


class Session:
    """What is typed, and what is told about it."""

    def __init__(self, terminal: Terminal, steady: Steady) -> None:
        self.terminal = terminal
        self.steady = steady
        self.text: list[str] = []

    def tell(self, *sentences: str) -> None:
        """Say something."""
        self.text += [*sentences, ""]

    def show(self, screen: str) -> None:
        """Show a screen."""
        self.text += ["```text", self.steady(screen).rstrip(), "```", ""]

    def type(self, line: str, told: str) -> str:
        """Type a line and show what came of it."""
        self.tell(told)
        screen = self.terminal.run(line)
        self.show("\n".join(screen.splitlines()[:-1]))
        return screen


def daemon_is_up(folder: Path) -> bool:
    """Whether a daemon has said where it answers."""
    return (folder / ".organism" / "daemon.json").exists()


def end_daemon(folder: Path) -> None:
    """End the daemon of a folder, if one is up."""
    if daemon_is_up(folder):
        os.kill(json.loads((folder / ".organism" / "daemon.json").read_text())["pid"], signal.SIGKILL)
