"""Every bus sends a key where Kafka's Java client sends it."""

import pytest

from holdfast.bus.partitioner import murmur2, partition_of


@pytest.mark.parametrize(
    ("key", "java_int"),
    [  # from UtilsTest.testMurmur2 of Apache Kafka
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_that_of_kafkas_java_client(key: bytes, java_int: int) -> None:
    assert murmur2(key) == java_int & 0xFFFFFFFF


def test_the_sign_is_dropped_before_the_modulo() -> None:
    assert partition_of(b"21", 12) == (-973932308 & 0x7FFFFFFF) % 12


def test_saga_ids_spread_evenly() -> None:
    counts = [0] * 12
    for i in range(12_000):
        counts[partition_of(f"0197{i:04x}-89ab-7cde-8f01-23456789abcd".encode(), 12)] += 1
    assert min(counts) > 800
