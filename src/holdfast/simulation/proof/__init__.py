"""Exhaustive search over small worlds: every order of events and every place for a fault, real code inside.

Nothing here models what a service decides: its code is run on a database to find what a message does.
"""
