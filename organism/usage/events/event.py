"""What every event carries."""

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag=True, omit_defaults=False, gc=False):
    """What every event carries; the garbage collector need not look, for no event is part of a circle.

    Attributes:
        id: Unique and ascending in the order of the journal; given by the outbox. Empty for what is never stored.
        time_ns: When, in nanoseconds since the Unix epoch, UTC; given by the outbox.
        thread_id: The thread it is about; empty for events about the organism.
        root_thread_id: The thread at the top of its tree.
    """

    id: str = ""
    time_ns: int = 0
    thread_id: str = ""
    root_thread_id: str = ""
