"""Tokens: who may do what, where that is kept, and what cannot be said of them."""
