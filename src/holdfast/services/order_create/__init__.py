"""order-create: orders, PENDING until confirmed; answers `checkout.order-command`."""
