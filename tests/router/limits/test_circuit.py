"""When a provider is given a rest, and how it comes back."""

import pytest

from organism.amounts import NS_PER_S
from organism.router.limits.circuit import Circuit, CircuitSettings

S = NS_PER_S


def circuit_with(failures: int = 5, *, answers: int = 0) -> Circuit:
    """Make a circuit that has seen so many failures and answers at instant 0."""
    circuit = Circuit(CircuitSettings())
    for _ in range(answers):
        circuit.leave("answered", 0, probe=circuit.enter(0))
    for _ in range(failures):
        circuit.leave("failed", 0, probe=circuit.enter(0))
    return circuit


def test_five_failures_in_half_a_minute_open_it_for_half_a_minute() -> None:
    """A provider that fails again and again is not asked for a while."""
    assert circuit_with(4).state(0) == "closed"

    circuit = circuit_with(5)
    assert circuit.state(0) == "open"
    assert circuit.free_in_ns(0) == 30 * S
    with pytest.raises(ValueError, match="no attempt"):
        circuit.enter(29 * S)


def test_failures_far_apart_do_not_open_it() -> None:
    """Now and then a failure is no outage."""
    circuit = Circuit(CircuitSettings())
    for place in range(20):
        circuit.leave("failed", place * 10 * S, probe=circuit.enter(place * 10 * S))

    assert circuit.state(200 * S) == "closed"


def test_few_failures_among_many_answers_do_not_open_it() -> None:
    """A busy provider that fails once in a while goes on serving the others."""
    assert circuit_with(5, answers=6).state(0) == "closed"
    assert circuit_with(6, answers=6).state(0) == "open"


def test_one_probe_decides() -> None:
    """After the rest exactly one attempt is let through; its answer closes the circuit."""
    circuit = circuit_with(5)

    assert circuit.state(30 * S) == "half_open"
    assert circuit.enter(30 * S)
    assert circuit.free_in_ns(30 * S) is None, "nobody else while the probe is out"
    circuit.leave("answered", 31 * S, probe=True)

    assert circuit.state(31 * S) == "closed"
    assert circuit.failures(31 * S) == 0


def test_failing_probe_opens_it_again_for_the_whole_time() -> None:
    """A provider that is still down is left alone for as long again."""
    circuit = circuit_with(5)
    circuit.enter(30 * S)
    circuit.leave("failed", 40 * S, probe=True)

    assert circuit.free_in_ns(40 * S) == 30 * S


def test_probe_that_never_left_lets_the_next_one_probe() -> None:
    """A probe that was cancelled or refused by a budget says nothing and blocks nobody."""
    circuit = circuit_with(5)
    circuit.enter(30 * S)
    circuit.leave("unknown", 31 * S, probe=True)

    assert circuit.enter(31 * S), "the next attempt is the probe"


def test_attempts_from_before_say_nothing_about_now() -> None:
    """What left before the circuit opened neither closes it nor prolongs the rest."""
    circuit = Circuit(CircuitSettings())
    for _ in range(7):
        circuit.enter(0)
    for _ in range(5):
        circuit.leave("failed", 0, probe=False)
    circuit.leave("answered", 10 * S, probe=False)
    circuit.leave("failed", 20 * S, probe=False)

    assert circuit.free_in_ns(20 * S) == 10 * S
