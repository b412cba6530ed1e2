"""The one door to a model: plan, reserve, call, settle."""
