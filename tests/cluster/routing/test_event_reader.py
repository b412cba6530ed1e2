"""A place in the events of a cluster is read as it was written, and nothing else is taken for one."""

import pytest

from organism.api.problems import ProblemError
from organism.cluster.routing.event_reader import read_place, written


@pytest.mark.parametrize("place", [{}, {0: 1}, {3: 26, 15: 10**15, 7: 2}])
def test_place_is_read_as_it_was_written(place: dict[int, int]) -> None:
    """A follower may give its place to any node, which goes on from there in each partition."""
    assert read_place(written(place), range(16)) == dict.fromkeys(range(16), 0) | place


@pytest.mark.parametrize("text", ["", "0", "0000000000000000", "c"])
def test_beginning_has_several_names(text: str) -> None:
    """The very first event is asked for as at a daemon alone."""
    assert set(read_place(text, range(4)).values()) == {0}


@pytest.mark.parametrize("text", ["42", "c-4.1", "c-1", "c-x.1", "c-1.x", "d-1.1", "c-1.1111111111111111", "c--", "é"])
def test_what_is_no_place_is_refused(text: str) -> None:
    """The id of one partition's event, or of a larger cluster, would leave events out: it is refused."""
    with pytest.raises(ProblemError, match="give the id of an event of this stream"):
        read_place(text, range(4))
