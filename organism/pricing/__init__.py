"""Prices: rates in integers, and where they are looked up."""
