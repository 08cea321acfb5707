"""The pure saga engine: a table of steps in, decisions out.

No clock, no I/O, no randomness, and no word of any one saga: those stand in `sagas`.
"""
