"""The parts of every process: settings, migrations, loops, operations endpoints, logs and metrics.

They know threads and HTTP, but no message and no step.
"""
