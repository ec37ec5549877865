"""Executors, which run a sweep's jobs behind one interface, and the scheduler that assigns the jobs to them."""
