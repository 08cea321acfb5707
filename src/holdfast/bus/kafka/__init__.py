"""The bus on Apache Kafka. Start reading at `bus`."""
