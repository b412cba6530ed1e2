"""All guards, by the room that they stand in."""

from tests.mutate.guards import api, budget, ledger, messages, router, stores, text

GUARDS = (
    *ledger.GUARDS,
    *budget.GUARDS,
    *router.GUARDS,
    *stores.GUARDS,
    *messages.GUARDS,
    *api.GUARDS,
    *text.GUARDS,
)
