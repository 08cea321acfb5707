"""Exhaustive search over small worlds: every order of events and every place for a fault, real code inside.

Nothing here decides anything for a service: what a message does to a database is found by running the code.
"""
