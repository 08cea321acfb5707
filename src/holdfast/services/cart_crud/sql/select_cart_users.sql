-- Returns the first users who have a cart of this id.
select user_id from cart where cart_id = %(cart_id)s order by user_id limit %(limit)s
