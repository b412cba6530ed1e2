"""What a daemon refuses to build on: a file that others may write, a state folder that another machine keeps."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from organism import ConfigError
from organism.daemon.file_safety import refuse_foreign_file, refuse_network

MOUNTS = r"""
21 1 8:1 / / rw,relatime - ext4 /dev/root rw
22 21 8:2 / /srv rw - ext4 /dev/b rw
23 22 0:44 / /srv/net rw - nfs4 files:/net rw
24 22 0:45 / /srv/a\040share rw - cifs //files/share rw
25 23 8:3 / /srv/net/local rw - xfs /dev/c rw
26 21 0:46 / /data rw - ext4 /dev/d rw
27 26 0:47 / /data rw - nfs files:/data rw
not a line
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/state", None),
        ("/srv/state", None),
        ("/srv/network", None),
        ("/srv/net/state", "nfs4"),
        ("/srv/a share/state", "cifs"),
        ("/srv/net/local/state", None),
        ("/data/state", "nfs"),
    ],
)
def test_state_on_a_network_file_system_is_refused(folder: str, kind: str | None, tmp_path: Path) -> None:
    """Locks and syncs are only as good as the machine that keeps them; what is mounted last and deepest counts."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    if kind is None:
        refuse_network(Path(folder), mounts)
    else:
        with pytest.raises(ConfigError, match=rf"network file system \({kind}\)"):
            refuse_network(Path(folder), mounts)


def test_where_mounts_are_not_known_nothing_is_refused(tmp_path: Path) -> None:
    """Only Linux tells."""
    refuse_network(tmp_path, tmp_path / "none")


def test_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    """A configuration names code; the daemon runs none that anybody could have put there."""
    file = tmp_path / "organism.yaml"
    refuse_foreign_file(file)
    file.write_text("")
    refuse_foreign_file(file)
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="chmod o-w"):
        refuse_foreign_file(file)


def test_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns it could change it at any time; root's own are fine for everybody."""
    file = tmp_path / "organism.yaml"
    file.write_text("")
    monkeypatch.setattr("organism.daemon.file_safety._ROOT", -1)
    with pytest.raises(ConfigError, match=f"belongs to user {os.geteuid()}.*chown {os.geteuid() + 1}"):
        refuse_foreign_file(file, user=os.geteuid() + 1)
    monkeypatch.setattr("organism.daemon.file_safety._ROOT", os.geteuid())
    refuse_foreign_file(file, user=os.geteuid() + 1)


def test_daemon_refuses_such_a_file_and_leaves_no_image_of_itself(tmp_path: Path) -> None:
    """The command says it in one line, before anything is imported; a crash leaves no core with keys in it."""
    file = tmp_path / "organism.yaml"
    file.write_text("name: x\nentry: a\nagents: {a: {handler: 'nothing:here'}}\n")
    file.chmod(0o646)
    command = [sys.executable, "-m", "organism", "daemon", "--port", "0"]
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "everybody can write it" in refused.stderr

    script = (
        "from organism.daemon.process import keep_no_core; keep_no_core(); import resource as r; print(r.getrlimit(4))"
    )
    limits = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert resource.RLIMIT_CORE == 4
    assert limits.stdout == "(0, 0)\n"
