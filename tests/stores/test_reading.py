"""What a journal reads back is what was written, or it is passed over and named."""

import msgspec
import pytest
from structlog.testing import capture_logs

from organism.journal import JournalBrokenError
from organism.stores.batch import checksum, to_json
from organism.stores.reading import next_events
from organism.testing.store_contract import event


@pytest.mark.parametrize("other", ["", "text", "0000000000000009", "7"])
def test_event_under_another_number_is_passed_over(other: str) -> None:
    """An event that says it is another one ends no start and no page: it is named in the log, and the next is read."""
    rows = []
    for number, said in ((1, other), (2, f"{2:016d}")):
        body = to_json(msgspec.structs.replace(event(number), id=said))
        rows.append((number, body, checksum(str(number), body)))
    with capture_logs() as logs:
        found = next_events("", 1, lambda after: [row for row in rows if row[0] > after], JournalBrokenError)
    assert [each.id for each in found] == [f"{2:016d}"]
    assert [(log["event"], log["id"]) for log in logs] == [("event_unreadable", f"{1:016d}")]
