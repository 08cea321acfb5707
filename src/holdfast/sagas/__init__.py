"""Saga definitions: tables of steps and reactions. The package `saga` is the engine that runs them."""
