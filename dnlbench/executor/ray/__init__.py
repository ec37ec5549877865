"""The executor for Ray clusters: safe connections, an inventory of the machines, and remote workers.

Ray is imported only inside functions, so that other executors work without it.
"""
