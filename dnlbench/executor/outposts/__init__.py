"""Slots on other machines: what works there, what it reports, and what the engine makes of that. Nothing in here knows Ray."""
