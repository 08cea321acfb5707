"""The kernel: one transaction for state, history or fence, and outbox; offsets after it.

It knows envelopes, fences, timers and the outbox, but no step of the checkout.
"""
