"""Every log line is one JSON object, whoever wrote it, and repeats nothing personal."""

import json
import subprocess
import sys
from datetime import datetime
from typing import Any

PROGRAM = """
import logging
from crm_platform.errors import NotFound
from crm_platform.logging import configure_logging, get_logger

log = get_logger("crm_platform.story")
configure_logging("sales", "1.2.3", "info")
log.debug("unheard")
log.info("heard", count=3)
logging.getLogger("aiokafka.client").warning("broker %s is away", 1)
logging.getLogger("aiokafka.client").debug("unheard")
try:
    try:
        int("anna@example.com")
    except ValueError as error:
        raise NotFound("There is no lead 7.") from error
except NotFound:
    log.exception("refused")
try:
    raise KeyError("anna@example.com")
except KeyError:
    logging.getLogger("uvicorn.error").exception("failed")
"""


def lines() -> list[dict[str, Any]]:
    ended = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stderr == ""
    assert "anna" not in ended.stdout
    return [json.loads(line) for line in ended.stdout.splitlines()]


def test_lines_are_json_with_origin_and_time_and_without_foreign_messages() -> None:
    heard, kafka, refused, failed = sorted(lines(), key=lambda line: str(line["ts"]))
    for line in (heard, kafka, refused, failed):
        assert (line["service"], line["version"]) == ("sales", "1.2.3")
        assert str(line["ts"]).endswith("Z")
        assert datetime.fromisoformat(line["ts"]).tzinfo is not None
    assert (heard["event"], heard["count"], heard["level"], heard["component"]) == (
        "heard", 3, "info", "crm_platform.story",
    )  # fmt: skip
    assert (kafka["event"], kafka["logger"], kafka["level"]) == ("broker 1 is away", "aiokafka.client", "warning")
    assert refused["err.type"] == "crm_platform.errors.NotFound"
    assert (refused["err.message"], refused["err.cause"]) == ("There is no lead 7.", "ValueError")
    assert failed["err.type"] == "KeyError"
    assert "err.message" not in failed
    assert failed["err.frames"]
