-- Returns how many messages are parked, by topic and reason; redriven and discarded ones do not count.
select topic, reason, count(*) from parked where status = 'parked' group by topic, reason order by topic, reason
