"""How much input is held for an attempt, and what is learnt from how much it was."""

from collections.abc import Mapping

import msgspec

from organism.budget.calibration import Calibration, Guess
from organism.budget.estimate import input_tokens_likely, input_tokens_strict
from organism.llm.provider import Provider, Request
from organism.pricing.names import undated
from organism.router.call import Estimate
from organism.router.planning.plan import Route
from organism.router.planning.request_checks import checked_extra_tokens, unbounded


class InputEstimate(msgspec.Struct, frozen=True):
    """The input of one attempt before it is made.

    Attributes:
        tokens: What to hold for it.
        guess: What there is to learn from; ``None`` where the count is no guess or holds more than text.
        extra: How much of it is for anything but text.
    """

    tokens: int
    guess: Guess | None = None
    extra: int = 0


class InputEstimator:
    """Estimates input, and learns from usage.

    Args:
        estimate: ``tight`` or ``strict``; nothing that is learnt ever makes ``strict`` smaller.
        providers: They bound what is not text.
        calibration: What is known of models; nothing unless given.
    """

    def __init__(
        self, estimate: Estimate, providers: Mapping[str, Provider], calibration: Calibration | None = None
    ) -> None:
        self._estimate = estimate
        self._providers = providers
        self._calibration = Calibration() if calibration is None else calibration

    def estimate(self, route: Route, request: Request) -> InputEstimate:
        """Return the upper estimate of a request's input where it goes.

        Raises:
            UnboundedError: If nothing bounds what an image or a file of it costs there.
            UnsupportedError: If the provider serves no requests of its kind.
        """
        extra = self._extra_tokens(route.provider, request)
        if self._estimate == "strict":
            return InputEstimate(input_tokens_strict(request.texts()) + extra, extra=extra)
        guess = self._calibration.guess(_family(route), request.texts())
        return InputEstimate(guess.tokens + extra, None if extra else guess, extra)

    def likely(self, route: Route, request: Request) -> int:
        """Return about how many tokens a request's input has where it goes, at most its estimate; raises the same."""
        upper = self.estimate(route, request).tokens
        return min(upper, input_tokens_likely(request.texts()) + self._extra_tokens(route.provider, request))

    def _extra_tokens(self, provider: str, request: Request) -> int:
        try:
            tokens: object = self._providers[provider].extra_tokens(request)
        except BaseException as error:  # noqa: BLE001 - an adapter may raise anything; nothing has left, so nothing is owed
            raise unbounded(error, provider) from None
        return checked_extra_tokens(tokens, provider)

    def learn(self, route: Route, guess: Guess | None, input_tokens: int) -> None:
        """Take note of what an attempt's input was by the provider's own count."""
        if guess is not None:
            self._calibration.learn(_family(route), guess, input_tokens)


def _family(route: Route) -> str:
    return f"{route.provider}/{undated(route.model)}"
