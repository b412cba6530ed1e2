"""The gateway: programs that know nothing of organism speak to it as to a model provider, and a thread pays.

A request goes: :mod:`keys` (authentication), a format of :mod:`organism.formats` (what it asks for), :mod:`payer`
(which thread pays), :mod:`model_calls` (the call, through the router like every other), :mod:`request_handler`
(the answer on the wire), with :mod:`errors` and :mod:`headers` for what goes with it.

To add a format, write the functions that :class:`organism.formats.server_format.ServerFormat` names, put them together
in :mod:`organism.formats.server_formats` and give the format a path in :mod:`routes`. Keys, threads, money, headers and
disconnects need no code of the format's own.
"""
