-- Sets the reason for which a cart is held; empty releases the cart.
update cart set held = %(reason)s, changed_at = now() where cart_id = %(cart_id)s and user_id = %(user_id)s
