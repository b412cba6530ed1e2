"""Where a call goes and what it may cost at most, decided before it is made."""
