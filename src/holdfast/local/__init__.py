"""A whole platform on one machine: embedded PostgreSQL and a supervisor of all processes.

Nothing that production needs belongs here: a cluster has its own database servers and its own supervisor.
"""
