"""What pip would install, as pinned lines with hashes; and what an auditor says of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

AUDITOR = "pip-audit==2.10.1"

UNKNOWN = 3
"""The code of who could not find out."""

OWN = "organism-runtime"


@dataclass(frozen=True)
class Audit:
    """What came of it.

    Attributes:
        locked: How many packages are pinned with the hashes of their files.
        without: Those that have no hash.
        answered: About how many of them somebody could say what is known.
        known: What is known against them: package, version, id, and in which versions it is mended.
        why: Why nothing could be done; empty if it could.
    """

    locked: int = 0
    without: list[str] = field(default_factory=list)
    answered: int = 0
    known: list[dict[str, str]] = field(default_factory=list)
    why: str = ""

    @property
    def code(self) -> int:
        """0 if all are pinned and nothing is known against any, :data:`UNKNOWN` if nobody could say so of all, or 1."""
        if self.without or self.known or self.why or not self.locked:
            return 1
        return 0 if self.answered == self.locked else UNKNOWN

    @property
    def figures(self) -> dict[str, Any]:
        """What is written for others to read."""
        return asdict(self)


def locked(report: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return a line for each package of pip's installation report, and the names of those that have no hash."""
    lines, without = [], []
    for each in report["install"]:
        name, version = each["metadata"]["name"], each["metadata"]["version"]
        if name == OWN:
            continue
        digest = each["download_info"].get("archive_info", {}).get("hashes", {}).get("sha256")
        if digest is None:
            without.append(f"{name} {version}")
        else:
            lines.append(f"{name}=={version} --hash=sha256:{digest}")
    return sorted(lines, key=str.lower), without


def audited(lines: Sequence[str], without: list[str], answer: Mapping[str, Any]) -> Audit:
    """Return what pip-audit has answered about pinned packages; one that it has skipped is nothing it knows of."""
    asked = [each for each in answer["dependencies"] if "skip_reason" not in each]
    known = [
        {
            "package": each["name"],
            "version": each["version"],
            "id": found["id"],
            "fixed in": ", ".join(found.get("fix_versions", ())) or "nothing yet",
        }
        for each in asked
        for found in each.get("vulns", ())
    ]
    return Audit(len(lines), without, len(asked), known)
