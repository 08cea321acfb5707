"""Saga definitions: tables of steps and reactions. The engine that runs them is `saga`."""
