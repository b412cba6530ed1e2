"""Checks of answers, and the usage of answers that are incomplete."""
