"""Holdfast: the checkout of a community platform, as an orchestrated saga over six services."""

__version__ = "0.1.0"
