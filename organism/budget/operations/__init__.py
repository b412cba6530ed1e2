"""What others do with budgets, by subject; each works on the accounts, the decision and the lines of one registry."""
