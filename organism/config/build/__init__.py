"""From the checked file to the objects an organism is made of."""
