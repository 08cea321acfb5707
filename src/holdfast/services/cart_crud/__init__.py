"""cart-crud: carts, the price list and operators' holds; answers `checkout.cart-command`."""
