"""The six services. Each has the same plan: service, settings, api, handlers, domain, store, memory_store, sql.

A service never imports another; they meet in `contracts` and on the bus.
"""
