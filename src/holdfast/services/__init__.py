"""The six services, all on one plan: service, settings, api, handlers, domain, store, memory_store, sql.

A service never imports another; they meet in `contracts` and on the bus.
"""
