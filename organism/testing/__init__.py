"""Public doubles and virtual time: what users test their agents with, and what our own tests use."""

from organism.ids import SequentialIds
from organism.providers.scripted import BilledCall, ScriptedAnswer, ScriptedProvider
from organism.testing.crashing_journal import CrashingJournal
from organism.testing.faulty_disk import FaultyDisk
from organism.testing.handling import Handled, handle_message
from organism.testing.http_provider import HTTPStep, ScriptedHTTPProvider
from organism.testing.virtual_time import ManualClock, VirtualClock, run

__all__ = [
    "BilledCall",
    "CrashingJournal",
    "FaultyDisk",
    "HTTPStep",
    "Handled",
    "ManualClock",
    "ScriptedAnswer",
    "ScriptedHTTPProvider",
    "ScriptedProvider",
    "SequentialIds",
    "VirtualClock",
    "handle_message",
    "run",
]
