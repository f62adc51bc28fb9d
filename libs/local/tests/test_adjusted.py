"""A test's stack may have servers with other settings; no other stack has them."""

from pathlib import Path

from crm_local.adjusted import adjust, adjustments
from crm_local.folder import StateFolder
from crm_local.mongodb import MongoDB
from crm_local.postgres import Postgres


def test_what_is_adjusted_holds_in_that_folder_only(tmp_path: Path) -> None:
    mine, other = StateFolder(tmp_path / "mine"), StateFolder(tmp_path / "other")
    adjust(mine, "kafka", {"log.cleaner.backoff.ms": "500", "a": "b=c"})
    assert adjustments(mine, "kafka") == {"log.cleaner.backoff.ms": "500", "a": "b=c"}
    assert adjustments(mine, "mongodb") == adjustments(other, "kafka") == {}


def test_an_adjusted_setting_takes_the_place_of_the_stacks_own(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    adjust(folder, "mongodb", {"oplogSize": "16", "journalCommitInterval": "5"})
    adjust(folder, "postgres", {"shared_buffers": "8MB"})
    mongodb, postgres = MongoDB(folder, 1).launch().argv, Postgres(folder, 1, ()).launch().argv
    assert [option for option in mongodb if "oplogSize" in option] == ["--oplogSize=16"]
    assert "--journalCommitInterval=5" in mongodb
    assert [option for option in postgres if "shared_buffers" in option] == ["--shared_buffers=8MB"]
