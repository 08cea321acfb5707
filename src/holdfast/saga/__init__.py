"""The pure saga engine: it takes a table of steps and an event, and returns a decision.

No clock, no I/O, no randomness, and nothing about any one saga: the definitions are in `sagas`.
"""
