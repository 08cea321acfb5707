"""One port, three buses: PostgreSQL (embedded), Kafka (production), memory (simulation).

It knows topics, keys and bytes, but no message of the checkout.
"""
