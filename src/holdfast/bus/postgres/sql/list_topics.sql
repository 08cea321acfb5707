select topic, partitions
from topics
