"""The gateway: programs that know nothing of organism speak to it as to a model provider, and a thread pays.

A request goes: :mod:`keys` (who is it?), a format of :mod:`organism.formats` (what does it ask?), :mod:`charging`
(which thread pays?), :mod:`calls` (the call itself, through the router like every other), :mod:`exchange` (the answer
on the wire), with :mod:`faults` and :mod:`headers` for what is said beside it.

To add a format, write a pure class that is a :class:`~organism.formats.server_format.Format` and name it with its path
in :mod:`routes`. Everything about keys, threads, money, headers and disconnects is there already.
"""
