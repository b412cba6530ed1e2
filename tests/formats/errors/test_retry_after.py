"""When a provider wants to be asked again, in each of the ways in which providers say it."""

import pytest

from organism.formats.errors.retry_after import RETRY_AFTER_MAX_S, retry_after_s

DATE = {"date": "Sat, 28 Nov 2026 12:00:00 GMT"}


@pytest.mark.parametrize(
    ("headers", "words", "seconds"),
    [
        ({"retry-after": "7"}, "", 7),
        ({"retry-after": "0.5"}, "", 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, "", 1.5),
        ({"retry-after": "Sat, 28 Nov 2026 12:00:12 GMT", **DATE}, "", 12),
        ({"retry-after": "Sat, 28 Nov 2026 11:00:00 GMT", **DATE}, "", 0),
        ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-remaining-requests": "0"}, "", 1),
        ({"x-ratelimit-reset-tokens": "20ms"}, "", 0.02),
        ({"x-ratelimit-reset": "1795867205000", **DATE}, "", 5),
        ({"x-ratelimit-reset": "1795867203", **DATE}, "", 3),
        ({"anthropic-ratelimit-requests-reset": "2026-11-28T12:00:04Z", **DATE}, "", 4),
        ({}, "Rate limit reached. Please try again in 7.66s.", 7.66),
        ({}, "Please retry after 2 seconds.", 2),
        ({}, "Please try again in 300 milliseconds", 0.3),
        ({}, '{"retryDelay": "14s"}', 14),
        ({"x-ratelimit-reset-requests": "6m0s"}, "", 30),
        ({"retry-after": "86400"}, "", 86_400),
        ({"retry-after": "Sun, 29 Nov 2026 12:00:00 GMT", **DATE}, "", 86_400),
        ({"retry-after": "1e9"}, "", RETRY_AFTER_MAX_S),
        ({}, "Please try again in 7m12.5s. Need more?", 432.5),
        ({}, "Please try again in 1 day, 2 hours", 93_600),
        ({}, "{'retryDelay': '34.07s'}", 34.07),
        ({"x-ratelimit-reset-requests": "6m0s"}, "Please try again in 2s.", 2),
    ],
)
def test_wait_is_read_however_it_is_written(headers: dict[str, str], words: str, seconds: float) -> None:
    """Seconds, milliseconds, dates, instants, durations and words: what is explicit before what a limit shows."""
    assert retry_after_s(headers, words) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"retry-after": "soon"},
        {"retry-after": "-1"},
        {"retry-after": "NaN"},
        {"retry-after": "Sat, 28 Nov 2026 12:00:12 GMT"},
        {"x-ratelimit-reset-requests": "1s", "x-ratelimit-remaining-requests": "5"},
        {"retry-after": "99999-99-99"},
    ],
)
def test_what_says_nothing_is_no_wait(headers: dict[str, str]) -> None:
    """Nonsense, a date without one to compare it with, and a limit that has not run out say nothing."""
    assert retry_after_s(headers) is None
