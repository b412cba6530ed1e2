"""What if: a recorded thread decided anew under other limits, prices and models. Pure."""
