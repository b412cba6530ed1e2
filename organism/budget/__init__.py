"""May this call be made? Limits, estimates, holds and thresholds, over the ledger's bare arithmetic."""
