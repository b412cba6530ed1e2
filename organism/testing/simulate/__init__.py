"""A deterministic simulator: whole organisms under random orders, faults and crashes, one seed for one exact run.

Time is virtual; the order of tasks, the providers' answers, the disk's delays and all crashes follow from the seed.
Each record is checked as it is written against a second set of books; at the end nothing may be held, lost, doubled or
waiting. ``python -m organism.testing.simulate`` simulates organisms of random shape; :func:`search` one of your own.
"""

from organism.testing.simulate.scenario import Scenario, ScenarioStep, draw_scenario
from organism.testing.simulate.scenario_run import ScenarioResult, play, shorten
from organism.testing.simulate.search import Found, search
from organism.testing.simulate.shape import RandomShape
from organism.testing.simulate.subject import Opening, Subject
from organism.testing.simulate.world import World

__all__ = [
    "Found",
    "Opening",
    "RandomShape",
    "Scenario",
    "ScenarioResult",
    "ScenarioStep",
    "Subject",
    "World",
    "draw_scenario",
    "play",
    "search",
    "shorten",
]
