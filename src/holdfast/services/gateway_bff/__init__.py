"""gateway-bff: accepts checkouts and shows shoppers their state; reads the final events."""
