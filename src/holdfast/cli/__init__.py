"""The `holdfast` command: what people and scripts type.

It has texts and exit codes only; each command calls the folder that does the work.
"""
