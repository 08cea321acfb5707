"""A simulated payment provider: Stripe's API, its own process, and a durable ledger that decides about money.

It shares no code with the platform, in either direction: it imports nothing else of holdfast.
"""
