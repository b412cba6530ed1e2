"""Whether threads are taken in, and when and out of what one begins that is opened now."""

from organism.clock import Clock
from organism.errors import StoppedError
from organism.ids import USER
from organism.threads.thread import MessageKey, Origin
from organism.tracing import parse_trace
from organism.usage.activity import ActivityFeed


class Intake:
    """Takes threads in, or refuses them while the organism stops.

    Args:
        activity: Gives them their trace contexts.

    Attributes:
        open: Whether new threads, messages and calls from outside are taken.
    """

    def __init__(self, clock: Clock, activity: ActivityFeed) -> None:
        self._clock = clock
        self._activity = activity
        self.open = False
        self._begun = False

    def accept(self) -> None:
        """Take new threads from now on."""
        self.open = self._begun = True

    def refuse(self) -> None:
        """Take none from now on."""
        self.open = False

    def check(self) -> None:
        """Refuse what comes from outside while nothing is taken.

        Raises:
            StoppedError: If so.
        """
        if not self.open:
            raise StoppedError(begun=self._begun)

    def origin(
        self,
        parent_trace: str | None,
        spawned_by: MessageKey | None = None,
        *,
        opened_by: str = USER,
        standing: bool = False,
    ) -> Origin:
        """Return when and out of what a thread begins that is opened now.

        Args:
            parent_trace: The ``traceparent`` of the caller; one that is malformed is ignored.
            spawned_by: The message of its parent whose handler spawns it, and the number of that question.
            opened_by: Who opens it: ``user``, or the agent whose handler spawns it.
            standing: Whether it is for calls from outside.
        """
        above = str(known) if (known := parse_trace(parent_trace)) is not None else None
        return Origin(
            opened_ns=self._clock.now_ns(),
            trace=self._activity.begin(above),
            parent_trace=above,
            spawned_by=spawned_by,
            standing=standing,
            opened_by=opened_by,
        )
