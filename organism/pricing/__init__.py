"""What tokens cost: rates in integers, and where they are looked up."""
