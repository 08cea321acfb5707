"""What every process has: settings, migrations, loops, operations endpoints, logs and metrics.

Knows threads and HTTP; knows no message and no step.
"""
