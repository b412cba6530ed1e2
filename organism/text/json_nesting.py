"""How deep JSON may be nested. Pure."""

import re

NESTED_MAX = 100
"""Lists in lists: deep enough for everybody, and far from where reading them would run out of stack."""

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(rb"[\[\]{}]")


def nests_too_deep(raw: bytes) -> bool:
    """Whether JSON is nested so deep that a later reader, on a deeper stack, may fail on it."""
    if raw.count(b"[") + raw.count(b"{") <= NESTED_MAX:
        return False
    depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", raw)):
        depth += 1 if bracket in b"[{" else -1
        if depth > NESTED_MAX:
            return True
    return False
