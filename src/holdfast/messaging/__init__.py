"""The kernel: one transaction for state, history or fence, and outbox; offsets after it.

Knows envelopes, fences, timers and the outbox; knows no step of the checkout.
"""
