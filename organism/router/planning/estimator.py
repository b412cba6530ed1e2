"""Estimates the input of an attempt for its hold, and learns from its usage."""

from collections.abc import Hashable, Mapping

import msgspec

from organism.budget.calibration import Calibration, Guess
from organism.budget.estimate import input_tokens_likely, input_tokens_strict
from organism.llm.provider import Provider, Request
from organism.llm.requests import CompletionRequest
from organism.llm.server_tools import tokens_of_uses
from organism.pricing.names import undated
from organism.router.call import Estimate
from organism.router.planning.plan import Route
from organism.router.planning.request_checks import checked_extra_tokens, unbounded

COUNTED_TEXT = 4_096
"""The shortest text, in estimated tokens, that a vendor is asked to count before the first call."""

EXTRA_PARTS = 8
"""A request is learnt from if its input beyond text is at most an eighth of its text."""


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
    """Estimates input, and learns from providers' counts.

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
        calibration = Calibration() if calibration is None else calibration
        self._calibration, self._prefixes = calibration, calibration.prefixes

    def estimate(self, route: Route, request: Request) -> InputEstimate:
        """Return the upper estimate of a request's input where it goes.

        Raises:
            UnboundedError: If nothing bounds what an image or a file of it costs there.
            UnsupportedError: If the provider serves no requests of its kind.
        """
        extra = self._extra_tokens(route, request)
        if self._estimate == "strict":
            return InputEstimate(input_tokens_strict(request.texts()) + extra, extra=extra)
        guess = self._guess(route, request, extra)
        if guess.prefix is not None and guess.prefix.turns:
            return InputEstimate(guess.prefix.tokens + guess.tokens + _tokens_of_uses(request), guess, extra)
        return InputEstimate(guess.tokens + extra, guess if _teaches(request, guess, extra) else None, extra)

    def likely(self, route: Route, request: Request) -> int:
        """Return the likely input of a request on a route, at most its estimate; raises what :meth:`estimate` does."""
        upper = self.estimate(route, request).tokens
        return min(upper, input_tokens_likely(request.texts()) + self._extra_tokens(route, request))

    def untaught(self, route: Route, request: Request) -> Guess | None:
        """Return the guess of a long text of a kind that nothing is known of there, which its vendor could count first.

        ``None`` where there is nothing to gain: the text is short, its kind is known, or the bound is not learnt.
        """
        if self._estimate == "strict" or _has_attachments(request) or sum(map(len, request.texts())) < COUNTED_TEXT:
            return None
        family = _family(route)
        guess = self._guess(route, request, self._extra_tokens(route, request))
        return guess if guess.text >= COUNTED_TEXT and not self._calibration.knows(family, guess.kind) else None

    def _extra_tokens(self, route: Route, request: Request) -> int:
        """Return the adapter's bound for the route's model; the request has the name by which its caller asked."""
        provider = route.provider
        try:
            there = msgspec.structs.replace(request, model=route.model)
            tokens: object = self._providers[provider].extra_tokens(there)
        except BaseException as error:  # noqa: BLE001 - an adapter may raise anything; nothing has left, so nothing is owed
            raise unbounded(error, provider) from None
        return checked_extra_tokens(tokens, provider)

    def _guess(self, route: Route, request: Request, extra: int) -> Guess:
        """Guess the tokens of a request's text; of its new turns alone if a call has counted those before."""
        family, texts = _family(route), tuple(request.texts())
        if not isinstance(request, CompletionRequest) or _has_attachments(request):
            return self._calibration.guess(family, texts)
        count = len(request.messages)
        turns = zip((message.role for message in request.messages), texts, strict=False)
        prefix = self._prefixes.find(family, _beside(request, texts[count:], extra), turns)
        if request.tool_choice == "none":
            # Templates may leave out tools that must not be used, so its count says nothing of rounds with tools.
            prefix = msgspec.structs.replace(prefix, key=hash((prefix.key, request.tool_choice)))
        return self._calibration.guess(family, texts[prefix.turns : count] if prefix.turns else texts, prefix)

    def learn(self, route: Route, guess: Guess | None, input_tokens: int, model: str | None = None) -> None:
        """Learn from the provider's count of an attempt's input.

        Args:
            guess: The estimate; without one nothing is learnt.
            model: The model that answered; ``None`` if the input was counted by itself, before the call.
        """
        if guess is None:
            return
        family, prefix = _family(route), guess.prefix
        if prefix is not None:
            answered_by = None if model is None else undated(model)
            self._prefixes.remember(family, answered_by, prefix, input_tokens, guess.text)
            input_tokens = max(0, input_tokens - prefix.tokens)
        self._calibration.learn(family, guess, input_tokens, counted=model is None)


def _teaches(request: Request, guess: Guess, extra: int) -> bool:
    """Whether a request's count tells how many tokens its text takes: it has little else.

    What there is beside counts as text then, which errs on the side of too much. What is held for the vendor's tools
    is not looked at: it is put before the model only when they are used, and nothing is learnt from such an answer.
    """
    beside = extra - _tokens_of_uses(request)
    return not extra or (beside * EXTRA_PARTS <= guess.text and not _has_attachments(request))


def _tokens_of_uses(request: Request) -> int:
    return tokens_of_uses(request) if isinstance(request, CompletionRequest) else 0


def _beside(request: CompletionRequest, texts: tuple[str, ...], extra: int) -> Hashable:
    """Return a key of what counts beside the turns: tools, response format and all that changes the instructions.

    Tools that must not be used take at most what those do that may, so the last word of a loop goes on from its rounds.

    Args:
        texts: Those of it that are no turn's.
        extra: What is held beside text.
    """
    thinking = (request.reasoning_effort, request.reasoning_tokens, request.verbosity)
    own = None if request.vendor_fields is None else msgspec.json.encode(request.vendor_fields.value)
    choice = "auto" if request.tool_choice == "none" else request.tool_choice
    return (texts, extra, thinking, choice, own)


def _has_attachments(request: Request) -> bool:
    """Whether a request has images or files, whose part of a count is unknown."""
    return isinstance(request, CompletionRequest) and any(True for _ in request.attachments())


def _family(route: Route) -> str:
    return f"{route.provider}/{undated(route.model)}"
