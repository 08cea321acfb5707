"""The language all services speak: messages, topics, and the one codec for both.

Imports nothing of the other rooms; holds no behaviour beyond shape and bounds.
"""
