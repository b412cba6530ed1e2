"""What follows from a failure? Pure: try again, give the message up, or stop the agent."""

from collections import deque

from organism.errors import BudgetExhaustedError, DeliveryError, OrganismError
from organism.threads.dead_letters import Reason

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 5.0


def backoff_s(attempt: int) -> float:
    """Return the seconds before the run after this one, counted from 1; it doubles each time."""
    return float(min(BACKOFF_FIRST_S * 2 ** (attempt - 1), BACKOFF_MAX_S))


def worth_retrying(error: BaseException) -> bool:
    """Whether another run may go better: not where the error itself says that nothing will change."""
    return error.retryable if isinstance(error, OrganismError) else True


def reason_for(error: BaseException) -> Reason:
    """Return the enumerated reason under which a message is given up on."""
    match error:
        case BudgetExhaustedError():
            return "budget_exhausted"
        case DeliveryError():
            return "not_deliverable"
        case _:
            return "handler_failed"


class RestartIntensity:
    """Counts an agent's failures within a sliding period, as a supervisor in Erlang/OTP does.

    A failure is a message given up on after all its attempts, so that one bad message costs an agent one failure and
    not its life.
    """

    def __init__(self) -> None:
        self._failures: deque[int] = deque()

    def fail(self, now_ns: int, restarts: int, period_ns: int) -> bool:
        """Count a failure; ``True`` when it is one too many.

        Args:
            restarts: Failures allowed within the period.
            period_ns: The period, in nanoseconds.
        """
        self._failures.append(now_ns)
        while self._failures[0] <= now_ns - period_ns:
            self._failures.popleft()
        return len(self._failures) > restarts
