"""What a file or a program limits: see :mod:`organism.budget.plans.budget_plan`."""
