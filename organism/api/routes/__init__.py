"""The routes of the control API, one module per resource; each is a thin call into :mod:`organism.control`."""
