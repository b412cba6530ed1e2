"""A deterministic simulator: whole organisms under random orders, faults and crashes, one seed for one exact run.

Time is virtual; the order of tasks, the providers' answers, the disk's delays and all crashes follow from the seed.
Each record is checked as it is written against a second set of books; at the end nothing may be held, lost, doubled or
waiting. ``python -m organism.testing.simulate`` simulates organisms of random shape; :func:`search` one of your own.
"""

from organism.testing.simulate.search import Found, search
from organism.testing.simulate.shape import RandomShape
from organism.testing.simulate.simulation import Result, play, shorten
from organism.testing.simulate.story import Operation, Story, draw_story
from organism.testing.simulate.subject import Opening, Subject
from organism.testing.simulate.world import World

__all__ = [
    "Found",
    "Opening",
    "Operation",
    "RandomShape",
    "Result",
    "Story",
    "Subject",
    "World",
    "draw_story",
    "play",
    "search",
    "shorten",
]
