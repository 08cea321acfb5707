"""A payment provider, simulated: Stripe-shaped, its own process, its durable ledger the arbiter for money.

Nothing of the platform belongs here, in either direction: this package imports nothing else of holdfast.
"""
