"""gateway-bff: the door. Accepts checkouts, tells shoppers how they stand; reads the final events."""
