"""The state folder: nothing in it can be somebody else's doing, and a start that is killed is finished by the next."""

import os
import resource
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from organism.api.tokens.token_book import TokenBook
from organism.daemon.state_folder import (
    owned,
    read_address,
    read_token,
    remove_address,
    wait_until_free,
    write_address,
)
from organism.errors import ConfigError, OrganismError
from organism.stores.sqlite_file import SqliteFile

PRECIOUS = "do not touch me\n"
FOREIGN = 65534


def start(state: Path) -> None:
    """Do with a state folder what a start of the daemon does."""
    with owned(state):
        TokenBook.open(state, lambda: 0)
        SqliteFile(state / "journal.db").close()
        write_address(state, "http://127.0.0.1:1")


def test_a_folder_is_free_when_its_owner_has_ended(tmp_path: Path) -> None:
    """So `organism stop` can wait for the process, not only for its connections: the next command owns the folder."""
    with owned(tmp_path / "state"):
        assert not wait_until_free(tmp_path / "state", 0)
    assert wait_until_free(tmp_path / "state", 0)
    with owned(tmp_path / "state"):  # having looked is not having taken it
        pass
    assert wait_until_free(tmp_path / "never", 0)


def link(name: str) -> Callable[[Path, Path], None]:
    return lambda state, victim: (state / name).symlink_to(victim)


def mode(name: str, bits: int) -> Callable[[Path, Path], None]:
    def plant(state: Path, _: Path) -> None:
        (state / name).write_text("[]" if name == "tokens.json" else "")
        (state / name).chmod(bits)

    return plant


def hard_link(name: str) -> Callable[[Path, Path], None]:
    return lambda state, victim: os.link(victim, state / name)


def pipe(name: str) -> Callable[[Path, Path], None]:
    return lambda state, _: os.mkfifo(state / name, 0o600)


def folder(name: str) -> Callable[[Path, Path], None]:
    return lambda state, _: (state / name).mkdir(0o700)


def foreign(name: str) -> Callable[[Path, Path], None]:
    def plant(state: Path, _: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("only root can give a file to somebody else")
        (state / name).touch(0o600)
        os.chown(state / name, FOREIGN, FOREIGN)

    return plant


def linked_folder(state: Path, _: Path) -> None:
    state.rename(state.with_name("elsewhere"))
    state.symlink_to(state.with_name("elsewhere"))


def file_for_folder(state: Path, _: Path) -> None:
    state.rmdir()
    state.touch(0o600)


SPOILT: dict[str, Callable[[Path, Path], None]] = {
    "everybody may write into it": lambda state, _: state.chmod(0o777),
    "everybody may read it": lambda state, _: state.chmod(0o755),
    "a group may pass through it": lambda state, _: state.chmod(0o710),
    "everybody may add to it": lambda state, _: state.chmod(0o1733),
    "it is somebody else's": foreign("."),
    "it is a link": linked_folder,
    "it is a file": file_for_folder,
    "token is a link": link("token"),
    "token is a dangling link": lambda state, _: (state / "token").symlink_to(state / "nowhere"),
    "token is a hard link": hard_link("token"),
    "token is a pipe": pipe("token"),
    "token is a folder": folder("token"),
    "token may be read by all": mode("token", 0o644),
    "token may be written by all": mode("token", 0o666),
    "token is somebody else's": foreign("token"),
    "tokens.json is a link": link("tokens.json"),
    "tokens.json is a dangling link": lambda state, _: (state / "tokens.json").symlink_to(state / "nowhere"),
    "tokens.json is a hard link": hard_link("tokens.json"),
    "tokens.json is a pipe": pipe("tokens.json"),
    "tokens.json may be written by all": mode("tokens.json", 0o666),
    "tokens.json may be written by a group": mode("tokens.json", 0o620),
    "tokens.json is somebody else's": foreign("tokens.json"),
    "lock is a link": link("lock"),
    "lock is a hard link": hard_link("lock"),
    "lock is a pipe": pipe("lock"),
    "lock is somebody else's": foreign("lock"),
    "journal is a link": link("journal.db"),
    "journal is a hard link": hard_link("journal.db"),
    "journal may be written by all": mode("journal.db", 0o666),
    "journal is somebody else's": foreign("journal.db"),
    "journal's log is a link": link("journal.db-wal"),
    "journal's log is somebody else's": foreign("journal.db-wal"),
    "journal's undo log is a link": link("journal.db-journal"),
    "journal is a pipe": pipe("journal.db"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_others_can_have_put_there_is_refused(what: str, tmp_path: Path) -> None:
    """Whoever may write into the folder is nobody's admin: it is refused with what to do, and nothing is changed."""
    state, victim = tmp_path / "state", tmp_path / "precious.txt"
    victim.write_text(PRECIOUS)
    victim.chmod(0o600)
    state.mkdir(0o700)
    SPOILT[what](state, victim)
    try:
        with pytest.raises(OrganismError, match=r"run: chmod|remove it|run as its owner|put a copy|name the folder"):
            start(state)
    finally:
        if os.geteuid() == 0 and not state.is_symlink():
            os.chown(state, 0, 0)
    assert victim.read_text() == PRECIOUS
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["token.new", "tokens.json.new", "daemon.json.new", "daemon.json", "tokens.new"])
@pytest.mark.parametrize("plant", [link, hard_link, mode], ids=["link", "hard link", "loose"])
def test_what_lies_where_files_are_replaced_is_not_written_through(
    name: str, plant: Callable[..., Callable[[Path, Path], None]], tmp_path: Path
) -> None:
    """A file is written under a fresh name and moved: what lies in the way is replaced, never what it points at."""
    state, victim = tmp_path / "state", tmp_path / "precious.txt"
    victim.write_text(PRECIOUS)
    state.mkdir(0o700)
    (plant(name, 0o666) if plant is mode else plant(name))(state, victim)
    start(state)
    anyio.run(TokenBook.open(state, lambda: 0).make, "ci", ["read"])
    assert victim.read_text() == PRECIOUS
    for ours in ("token", "tokens.json", "daemon.json"):
        status = (state / ours).lstat()
        assert stat.S_ISREG(status.st_mode)
        assert (stat.S_IMODE(status.st_mode), status.st_nlink) == (0o600, 1)


def test_client_sends_its_token_to_nobody_who_could_be_somebody_else(tmp_path: Path) -> None:
    """The address of a daemon is believed only from a folder, and out of a file, that nobody else can have written."""
    state = tmp_path / "state"
    start(state)
    assert read_address(state) is not None
    state.chmod(0o777)
    with pytest.raises(ConfigError, match="others can reach it"):
        read_address(state)
    state.chmod(0o700)
    (state / "daemon.json").chmod(0o666)
    with pytest.raises(ConfigError, match="others can write it"):
        read_address(state)


@pytest.mark.parametrize("content", [b"two words\n", b"a\nb\n", b"\xff\xfe", b"x" * 600, b"\x1b[2J", b"\x00" * 40])
def test_token_that_no_header_can_carry_is_refused(content: bytes, tmp_path: Path) -> None:
    """A file that holds no token is refused at the start with what to do, not with a traceback or at each request."""
    start(tmp_path / "state")
    (tmp_path / "state" / "token").write_bytes(content)
    with pytest.raises(ConfigError, match="remove the file to get a new one"):
        start(tmp_path / "state")


def test_journal_that_was_restored_from_a_copy_is_made_private(tmp_path: Path) -> None:
    """A backup comes back readable by all, as copies are made: it is closed to others rather than refused."""
    state = tmp_path / "state"
    start(state)
    (state / "journal.db").chmod(0o644)
    start(state)
    assert stat.S_IMODE((state / "journal.db").stat().st_mode) == 0o600


KILLED_AT = '''
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_state_folder import start
from organism.daemon.state_folder import read_token

COUNTED = ("posix", "fcntl", "apsw", "_io")

def life(state, kill_at):
    """Start in a process of its own, which dies just before or after its call number kill_at into the system."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    calls = 0
    def count(frame, event, function):
        nonlocal calls
        if event in ("c_call", "c_return"):
            of = type(getattr(function, "__self__", None)).__module__
            if (function.__module__ or of) in COUNTED or of in COUNTED:
                calls += 1
                if calls == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
    try:
        if kill_at:
            sys.setprofile(count)
        start(state)
        sys.setprofile(None)
    except BaseException as error:
        print("a start", kill_at, "raised", repr(error), flush=True)
        os._exit(1)
    os._exit(0)

root, number, died = Path(sys.argv[2]), 0, True
while died:
    number += 1
    state = root / str(number)
    died = life(state, number) == signal.SIGKILL
    if life(state, 0) != 0:
        sys.exit(f"killed at its call {number} into the system; the next start was refused")
    assert len(read_token(state)) >= 40
    assert not [each for each in state.iterdir() if each.name.endswith(".new")]
print(number)
'''


@pytest.mark.thorough
def test_first_start_that_is_killed_anywhere_is_finished_by_the_next(tmp_path: Path) -> None:
    """Killed before or after any of its calls into the system, a first start leaves what the next start takes."""
    arguments = [sys.executable, "-c", KILLED_AT, str(Path(__file__).parent), str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 50


def test_lock_and_address_tell_the_owner_apart_from_the_dead(tmp_path: Path) -> None:
    """A second start is refused with the owner's number, and an address does not outlive its daemon."""
    state = tmp_path / "state"
    with owned(state):
        write_address(state, "http://127.0.0.1:1")
        with pytest.raises(ConfigError, match=f"process {os.getpid()}"), owned(state):
            pass
        remove_address(state)
    assert read_address(state) is None
    with closing(SqliteFile(state / "journal.db")):
        start_again = owned(state)
        with start_again:
            pass
    TokenBook.open(state, lambda: 0)
    assert read_token(state)


@pytest.mark.parametrize("there", [(), ("lock",), ("lock", "token"), ("lock", "token", "journal.db")])
def test_start_without_room_on_the_disk_is_refused_in_a_sentence(there: tuple[str, ...], tmp_path: Path) -> None:
    """Whichever file finds no room first, the start says so with its path, and the next start with room succeeds."""
    state = tmp_path / "state"
    start(state)
    for file in state.iterdir():
        if file.name not in there:
            file.unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OrganismError, match=str(state)):
            start(state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    start(state)


@pytest.mark.parametrize("wrong", ["loose", "link", "log is a link", "folder", "no database"])
def test_a_journal_that_cannot_be_used_is_a_sentence(wrong: str, tmp_path: Path) -> None:
    """A daemon that cannot open its journal says so in a line with what to do, and ends; nothing is followed."""
    (tmp_path / "h.py").write_text("from organism import Text\nasync def h(message: Text, ctx): return None\n")
    agents = "agents: {a: {handler: 'h:h'}}"
    (tmp_path / "organism.yaml").write_text(f"name: c\nentry: a\npython_path: [.]\ndaemon: {{port: 0}}\n{agents}\n")
    state, other = tmp_path / ".organism", tmp_path / "other"
    state.mkdir(mode=0o700)
    other.write_text("keep")
    journal = state / "journal.db"
    if wrong == "loose":
        journal.touch()
        journal.chmod(0o666)
    elif wrong == "link":
        journal.symlink_to(other)
    elif wrong == "log is a link":
        (state / "journal.db-wal").symlink_to(other)
    elif wrong == "folder":
        journal.mkdir()
    else:
        journal.touch(mode=0o600)
        journal.write_text("no database " * 1000)
    ended = subprocess.run(
        [sys.executable, "-m", "organism", "daemon"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode in {1, 2}
    assert ended.stderr.startswith("organism: ")
    assert "Traceback" not in ended.stderr
    assert other.read_text() == "keep"
