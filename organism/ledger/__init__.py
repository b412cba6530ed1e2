"""The single source of truth for money: append-only entries and the balances that follow from them."""
