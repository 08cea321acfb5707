"""The `holdfast` command: what people and scripts type.

Words and exit codes only; each command calls a room that does the work.
"""
