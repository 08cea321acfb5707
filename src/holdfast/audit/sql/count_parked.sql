select topic, reason, count(*) from parked where status = 'parked' group by topic, reason order by topic, reason
