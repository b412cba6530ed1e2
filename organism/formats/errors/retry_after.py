"""Reads when a provider may be asked again, from headers of many forms or from its words. Pure.

Sources: RFC 9110 (``Retry-After``: seconds or a date), OpenAI and Azure (``retry-after-ms``, ``x-ratelimit-reset-*``
such as ``6m0s``), Anthropic (``anthropic-ratelimit-*-reset``: an instant), OpenRouter (``x-ratelimit-reset``:
milliseconds of the epoch), Groq and OpenAI ("try again in 7.66s"), Google (``retryDelay: "34s"``).
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

RETRY_AFTER_MAX_S = 366 * 86_400.0
"""The longest wait: a longer one is taken for a mistake in the unit."""

_RESETS_MAX_S = 30.0
"""The longest wait for a limit's reset: limits refill continuously, so a request fits long before."""

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_AMOUNT = r"\d+(?:\.\d+)? ?(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?)(?![a-z])"
_IN_WORDS = re.compile(
    rf"""(?:try again|retry) (?:in|after) ({_AMOUNT}(?:,? ?(?:and )?{_AMOUNT}){{0,4}})"""
    r"""|['"]?retrydelay['"]?: ?['"](\d+(?:\.\d+)?s)['"]""",
    re.IGNORECASE,
)
_PARTS = re.compile(r"(\d+(?:\.\d+)?) ?([a-z]+)", re.IGNORECASE)
_UNITS_S = (("ms", 0.001), ("mil", 0.001), ("m", 60.0), ("s", 1.0), ("h", 3600.0), ("d", 86_400.0))
"""Seconds of a unit, by its prefix; the first that fits."""

_EPOCH_MS = 1e11
_EPOCH_S = 1e8
_RESETS = ("x-ratelimit-reset", "ratelimit-reset", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens")
_ANTHROPIC = tuple(f"anthropic-ratelimit-{what}-reset" for what in ("requests", "tokens", "input-tokens"))


def retry_after_s(headers: Mapping[str, str], words: str = "") -> float | None:
    """Return the seconds until the provider may be asked again, capped; ``None`` if it does not say.

    Args:
        headers: The headers of its answer, looked up by lower-case names.
        words: The body's text.
    """
    date = _instant(headers.get("date"))
    said = [*_asked(headers, date)] or [*_in_words(words)] or [min(s, _RESETS_MAX_S) for s in _resets(headers, date)]
    seconds = next((each for each in said if math.isfinite(each) and each >= 0), None)
    return None if seconds is None else min(seconds, RETRY_AFTER_MAX_S)


def _asked(headers: Mapping[str, str], date: datetime | None) -> Iterator[float]:
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        yield milliseconds / 1000
    value = headers.get("retry-after")
    if (seconds := _number(value)) is not None:
        yield seconds
    elif (then := _instant(value)) is not None and date is not None:
        yield max(0.0, (then - date).total_seconds())


def _resets(headers: Mapping[str, str], date: datetime | None) -> Iterator[float]:
    """Yield the seconds until each exhausted limit of the provider resets."""
    for name in (*_RESETS, *_ANTHROPIC):
        left = headers.get(name.replace("-reset", "-remaining"))
        if (value := headers.get(name)) is None or (left is not None and (_number(left) or 0) > 0):
            continue
        number = _number(value)
        if number is None:
            seconds = _duration(value)
            then = None if seconds is not None else _instant(value)
        else:
            epoch_s = number / 1000 if number > _EPOCH_MS else number if number > _EPOCH_S else None
            seconds = number if epoch_s is None else None
            then = None if epoch_s is None else datetime.fromtimestamp(min(epoch_s, _EPOCH_MS), UTC)
        if seconds is not None:
            yield seconds
        elif then is not None and date is not None:
            yield max(0.0, (then - date).total_seconds())


def _in_words(words: str) -> Iterator[float]:
    for found in _IN_WORDS.finditer(words):
        yield sum(
            float(amount) * next(size for start, size in _UNITS_S if unit.lower().startswith(start))
            for amount, unit in _PARTS.findall(found[1] or found[2])
        )


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "nan")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _duration(value: str) -> float | None:
    """Read a duration such as ``6m0s``, ``1.2s`` or ``20ms``."""
    found = _DURATION.fullmatch(value.strip())
    if found is None or not any(found.groups()):
        return None
    hours, minutes, seconds, milliseconds = (float(each or 0) for each in found.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def _instant(value: str | None) -> datetime | None:
    """Read a date as HTTP or RFC 3339 writes it; one without a zone is in UTC."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            instant = read(value or "")
        except (ValueError, TypeError, OverflowError):
            continue
        return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    return None
