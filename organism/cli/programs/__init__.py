"""Programs of any make under a budget: ``organism exec``.

A run goes: :mod:`upstreams` (which vendors the environment has keys of, as a configuration), :mod:`variables` (what the
program is given instead), :mod:`private_gateway` (a gateway of its own on this machine), :mod:`child` (the program
itself), :mod:`verdict` (how it ended, and what it cost).
"""
