"""One port, three buses: PostgreSQL (embedded), Kafka (production), memory (simulation).

Knows topics, keys and bytes; knows no message of the checkout.
"""
