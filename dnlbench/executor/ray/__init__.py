"""Ray clusters: connecting to them safely, what machines they have, and whether they are still there.

Ray is imported inside functions alone, so that nobody else needs it.
"""
