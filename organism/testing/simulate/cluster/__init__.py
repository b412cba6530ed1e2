"""Clusters under random hand-overs, cuts, stalls and crashes: the product's own nodes on a real database.

Nodes, leases, fences and slices are the product's own, down to the statements that the database executes; only time,
the network and chance are simulated. So it takes PostgreSQL's programs on this machine.
"""
