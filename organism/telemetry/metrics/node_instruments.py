"""The metrics of a node of a cluster, beside those that each of its partitions has as an organism.

Every one has the label ``node``. The values are kept by the node and read when a scraper comes.
"""

from organism.telemetry.metrics.instruments import SECONDS, Instrument, InstrumentKind


def _of_node(name: str, kind: InstrumentKind, unit: str, text: str, *labels: str) -> Instrument:
    bounds = SECONDS if kind == "histogram" else ()
    return Instrument(f"organism.cluster.{name}", kind, unit, text, ("node", *labels), bounds, kept=True)


PARTITIONS = _of_node("partitions", "gauge", "{partition}", "Partitions that take work at this node.")
TAKEN = _of_node("partitions_taken", "counter", "{partition}", "Partitions this node has taken.")
ENDED = _of_node(
    "partitions_ended",
    "counter",
    "{partition}",
    "Partitions this node has no more: handed_over, fenced by another owner, or failed.",
    "reason",
)
LEASE_AGE = _of_node("lease_age", "gauge", "s", "Seconds since the leases were renewed.")
RENEWALS_FAILED = _of_node("renewals_failed", "counter", "{renewal}", "Renewals of the leases that failed.")
TOKEN_LOOKS_FAILED = _of_node(
    "token_looks_failed", "counter", "{look}", "Looks at the tokens in the database that failed."
)
FORWARDS = _of_node(
    "forwards", "counter", "{request}", "Requests passed on to other nodes, by what came of them.", "result"
)
FORWARD_SECONDS = _of_node(
    "forward.duration", "histogram", "s", "Seconds from passing a request on to the head of its answer."
)
SLICE_STATEMENTS = _of_node("slice_statements", "counter", "{statement}", "Statements about slices of shared limits.")
SLICE_USD = _of_node("slice", "gauge", "USD", "Dollars of a shared limit that this node has.", "scope")
SLICE_TOKENS = _of_node("slice_tokens", "gauge", "{token}", "Tokens of a shared limit that this node has.", "scope")
SLICE_CALLS = _of_node("slice_calls", "gauge", "{call}", "Calls of a shared limit that this node has.", "scope")
UNUSED_USD = _of_node("slice_unused", "gauge", "USD", "Dollars of that which are neither spent nor held.", "scope")
UNUSED_TOKENS = _of_node(
    "slice_unused_tokens", "gauge", "{token}", "Tokens of that which are neither spent nor held.", "scope"
)
UNUSED_CALLS = _of_node(
    "slice_unused_calls", "gauge", "{call}", "Calls of that which are neither spent nor held.", "scope"
)
LABEL_MISSING = _of_node(
    "label_missing", "gauge", "{label}", "1 for a label that partitions need and no node has.", "label"
)
CONFIGURATION_DIFFERS = _of_node(
    "configuration_differs", "gauge", "{node}", "1 where this node has another file than the newest that one has."
)
RATES_FAILED = _of_node(
    "rates_failed", "counter", "{exchange}", "Exchanges with the other nodes about limits of providers that failed."
)
RATES_UNREADABLE = _of_node(
    "rates_unreadable",
    "gauge",
    "{provider}",
    "1 for a provider of whose limits nobody can read who uses what.",
    "provider",
)
PROVIDER_SHARE = _of_node(
    "provider_share", "gauge", "{amount}", "What this node may use of a provider's limit.", "provider", "unit"
)
