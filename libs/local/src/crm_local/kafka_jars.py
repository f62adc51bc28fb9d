"""The jars of Apache Kafka, fetched once for all stacks of this user."""

import os
import shutil
import tempfile
import zipfile
from pathlib import Path

from crm_local.errors import LocalStackError
from crm_local.part import Say

_COORDINATES = ("org.apache.kafka:kafka_2.13:4.3.1", "org.slf4j:slf4j-simple:1.7.36")
_FOLDER = "kafka-4.3.1"
_SCOPES = ("compile", "runtime")
_HTTP_TIMEOUT = 60


def kafka_jars(say: Say) -> list[Path]:
    """The class path of a Kafka broker, from the user's cache or, the first time, from Maven Central.

    Raises LocalStackError if an artifact cannot be fetched.
    """
    folder = _cache() / _FOLDER
    if not folder.exists():
        say("fetching Apache Kafka from Maven Central, about 45 MB, once")
        _fetch(folder)
    return sorted(folder.glob("*.jar"))


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crm"


def _fetch(folder: Path) -> None:
    """Fills `folder` in one step, so that neither a failure nor a second stack leaves it incomplete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetching-") as temporary:
        complete = Path(temporary) / "jars"
        complete.mkdir()
        for jar in _resolve(Path(temporary) / "repository"):
            jar.rename(complete / jar.name)
        try:
            complete.rename(folder)
        except OSError:
            if not folder.exists():
                raise
            shutil.rmtree(complete)  # another stack was faster


def _resolve(repository: Path) -> list[Path]:
    from jgo.maven import MavenContext  # noqa: PLC0415 - slow to import, and needed once

    maven = MavenContext(repo_cache=repository, timeout=_HTTP_TIMEOUT)
    try:
        wanted, needed = maven.resolver.resolve([maven.create_dependency(each) for each in _COORDINATES])
        jars = [each.artifact.resolve() for each in (*wanted, *(each for each in needed if each.scope in _SCOPES))]
        broken = [jar.name for jar in jars if not zipfile.is_zipfile(jar)]
    except (OSError, RuntimeError, ValueError) as error:
        raise LocalStackError(
            f"Apache Kafka could not be fetched from Maven Central: {error}. "
            "Check the network and start again; what was fetched so far is not kept",
        ) from error
    if broken:
        raise LocalStackError(f"Apache Kafka came incomplete from Maven Central ({broken[0]}): start again")
    return jars
