"""Public doubles and virtual time: what users test their agents with, and what our own tests use."""

from organism.ids import SequentialIds
from organism.testing.virtual_time import ManualClock, VirtualClock, run

__all__ = ["ManualClock", "SequentialIds", "VirtualClock", "run"]
