"""A failure that lasts is told when it begins, when it is another, and each minute; not at each try."""

import pytest

from organism.text.lasting_failure import LastingFailure


def test_a_failure_is_told_once_and_again_when_it_is_another_or_comes_back() -> None:
    """The same reason again is no news until it was over."""
    failure = LastingFailure()
    tries = ("away", "away", "full", "full", "away")
    assert [failure.is_news(reason) for reason in tries] == [True, False, True, False, True]
    failure.end()
    assert failure.is_news("away")


def test_a_failure_that_lasts_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each minute, so that who reads the log's end knows of it."""
    failure = LastingFailure()
    assert failure.is_news("away")
    monkeypatch.setattr("organism.text.lasting_failure._AGAIN_NS", 0)
    failure.end()
    assert [failure.is_news("away") for _ in range(3)] == [True, True, True]
