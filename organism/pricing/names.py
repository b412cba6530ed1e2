"""Names of models without their release dates. Pure."""

import re
from functools import lru_cache

_DATE = re.compile(r"(?:[-@]20[0-9]{2}-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12][0-9]|3[01])|[-:@]latest)$")
"""A release date, such as ``-2026-01-31``, ``-20260131`` or ``@20260131``, or a word for the newest one."""


@lru_cache(maxsize=1024)
def undated(model: str) -> str:
    """Return a model's name without its release date: ``gpt-5-2025-08-07`` and ``gpt-5`` are one family.

    Short dates such as ``-0613`` are left alone: too many names end in four digits that are no date.
    """
    return _DATE.sub("", model)
