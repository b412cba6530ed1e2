"""Usage for billing systems and for people: delivery to sinks, vendors' bills, reports."""
