from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def prometheus() -> Path:
    """The folder of the rules and their tests."""
    return ROOT / "deploy/prometheus"


@pytest.fixture(scope="session")
def rules(prometheus: Path) -> list[dict[str, Any]]:
    """Every recording and alert rule, in file order."""
    files = [yaml.safe_load(file.read_text()) for file in sorted((prometheus / "rules").glob("*.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


@pytest.fixture(scope="session")
def alerts(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule for rule in rules if "alert" in rule]
