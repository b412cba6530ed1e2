"""Public doubles and virtual time: what users test their agents with, and what our own tests use."""
