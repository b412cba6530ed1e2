"""Unique names for servers' tools that every vendor takes: at most 64 letters, digits, ``-`` and ``_``. Pure.

Servers name their tools as they like (dots, slashes, any script, any length), and two names that differ may be the same
once they are cleaned. A name that needs no cleaning is kept; of others that meet, each ends in a digest of its whole
name. So a tool's name does not depend on the order in which servers list, and seldom on what else they list.
"""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from hashlib import sha256

NAME_MAX = 64
TOOL_NAME = re.compile(rf"[A-Za-z0-9_-]{{1,{NAME_MAX}}}")

_DIGEST_LETTERS = 8


def tool_names(wanted: Sequence[tuple[str, str]], taken: Collection[str] = ()) -> list[str]:
    """Return a name for each tool, given as its server's name and its own.

    Args:
        wanted: The tools. The same one twice gets the same name twice: only its author can correct that.
        taken: Names that other tools have.
    """
    plain = [_cleaned(*pair) for pair in wanted]
    exact = [f"{server}_{tool}" == name for (server, tool), name in zip(wanted, plain, strict=True)]
    claims = Counter(name for name, _pair in set(zip(plain, wanted, strict=True)))
    exact_claims = Counter(name for name, _pair, is_exact in set(zip(plain, wanted, exact, strict=True)) if is_exact)
    used = set(taken)
    kept: dict[tuple[str, str], str] = {}
    for pair, name, is_exact in zip(wanted, plain, exact, strict=True):
        alone = claims[name] == 1 and len(f"{pair[0]}_{pair[1]}") <= NAME_MAX
        if name not in taken and (alone or (is_exact and exact_claims[name] == 1)):
            kept[pair] = name
            used.add(name)
    for pair, name in zip(wanted, plain, strict=True):
        if pair not in kept:
            kept[pair] = _told_apart(pair, name, used)
            used.add(kept[pair])
    return [kept[pair] for pair in wanted]


def _cleaned(server: str, tool: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", f"{server}_{tool}")[:NAME_MAX]


def _told_apart(pair: tuple[str, str], name: str, used: Collection[str]) -> str:
    """Return a name that ends in a digest of the pair, longer if the name is taken."""
    digest = sha256("\0".join(pair).encode("utf-8", "surrogatepass")).hexdigest()
    for letters in range(_DIGEST_LETTERS, len(digest)):
        end = f"_{digest[:letters]}"
        found = name[: NAME_MAX - len(end)] + end
        if found not in used:
            return found
    raise AssertionError(f"no name is left for {pair}")
