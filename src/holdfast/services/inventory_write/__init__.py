"""inventory-write: stock, reservations and their movements; answers `checkout.inventory-command`."""
