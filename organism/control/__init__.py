"""What an operator sees of a running organism and does to it: each order once, audited, answered after the commit."""
