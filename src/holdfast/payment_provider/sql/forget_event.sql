delete from events where seq = :seq
