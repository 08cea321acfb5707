"""gateway-bff: the admission. Accepts checkouts, tells shoppers how they stand; reads the final events."""
