"""How each field of a vendor's format is treated: a row for each, from which the manual's table is made.

A format's own ``fields`` module has its rows. Tests walk the types of the official SDKs and ask each name for its row,
so that a field of a newer SDK is decided before it is met. Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

FieldVerdict = Literal["passed on", "accepted", "refused"]
"""``passed on``: it reaches providers that have a word for it, and is refused by name where it matters and there is
none. ``accepted``: it changes neither the answer nor its price. ``refused``: by its name, with what to do instead."""


class FieldRule(msgspec.Struct, frozen=True):
    """How one field is treated.

    Attributes:
        name: As the format has it: ``field``, ``field.part``, or ``field: type`` for one of its kinds.
        verdict: How it is treated.
        note: Where it goes; or what it is taken for; or what to do instead.
    """

    name: str
    verdict: FieldVerdict
    note: str = ""


def rules(passed: Mapping[str, str], accepted: Mapping[str, str], refused: Mapping[str, str]) -> tuple[FieldRule, ...]:
    """Return the rows of a format: each mapping has notes by names; names that share a note are joined by commas."""
    listed: list[FieldRule] = []
    tables: tuple[tuple[FieldVerdict, Mapping[str, str]], ...] = (
        ("passed on", passed),
        ("accepted", accepted),
        ("refused", refused),
    )
    for verdict, table in tables:
        for names, note in table.items():
            listed += [FieldRule(name.strip(), verdict, note) for name in names.split(",")]
    return tuple(listed)


def refusals(listed: Iterable[FieldRule]) -> dict[str, str]:
    """Return the notes of refused fields by name."""
    return {rule.name: rule.note for rule in listed if rule.verdict == "refused"}
