"""The rules ask for what the platform really exposes, and each alert was seen to fire and to keep quiet."""

import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.metrics import MetricWrapperBase

from crm_local.services import SERVICES, STREAM
from crm_platform import metrics
from crm_platform.http.middleware import PROBES

Rule = dict[str, Any]

ROOT = Path(__file__).parents[2]
FROM_THE_SCRAPE = frozenset(("job", "instance", "process"))
"""Labels that Prometheus adds to every series."""
TEMPLATE_LABEL = re.compile(r"\$labels\.(\w+)")
FIRED = re.compile(r'(\w+)="([^"]*)"')


# -- what there is to ask for


def exposed() -> dict[str, frozenset[str]]:
    """Every series that a process exposes, with its labels."""
    found = {"up": FROM_THE_SCRAPE}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            labels = FROM_THE_SCRAPE | set(metric._labelnames)
            found |= {name: labels | ({"le"} if name.endswith("_bucket") else set()) for name in series_of(metric)}
    return found | {family.name: FROM_THE_SCRAPE for family in REGISTRY.collect() if family.name.startswith("process_")}


def series_of(metric: MetricWrapperBase) -> list[str]:
    name: str = metric._name
    if isinstance(metric, Counter):
        return [f"{name}_total"]
    return [f"{name}_{suffix}" for suffix in ("bucket", "count", "sum")] if isinstance(metric, Histogram) else [name]


def recorded(rules: list[Rule]) -> dict[str, frozenset[str]]:
    """Every recorded series; the part of its name before the colon says its labels."""
    return {rule["record"]: labels_in_name(rule["record"]) for rule in rules if "record" in rule}


def labels_in_name(name: str) -> frozenset[str]:
    return frozenset(name.partition(":")[0].split("_"))


# -- what the rules ask for


def nodes(expression: promql_parser.Expr) -> Iterator[promql_parser.Expr]:
    found: list[promql_parser.Expr] = []
    promql_parser.walk(expression, found.append)
    return iter(found)


def selectors(expression: promql_parser.Expr) -> list[promql_parser.VectorSelector]:
    return [node for node in nodes(expression) if isinstance(node, promql_parser.VectorSelector)]


def series_asked_for(expression: str) -> set[str]:
    return {str(selector.name) for selector in selectors(promql_parser.parse(expression))}


def grouping(node: promql_parser.Expr) -> list[str]:
    """The labels that an aggregation or a match keeps."""
    if isinstance(node, promql_parser.AggregateExpr):
        return node.modifier.labels if node.modifier else []
    if isinstance(node, promql_parser.BinaryExpr):
        return node.modifier.matching.labels if node.modifier and node.modifier.matching else []
    return []


@pytest.fixture(scope="module")
def known(rules: list[Rule]) -> Mapping[str, frozenset[str]]:
    return exposed() | recorded(rules)


def test_every_series_asked_for_exists(rules: list[Rule], known: Mapping[str, frozenset[str]]) -> None:
    asked = {name for rule in rules for name in series_asked_for(rule["expr"])}
    assert asked - known.keys() == set()


def test_every_label_asked_for_exists(rules: list[Rule], known: Mapping[str, frozenset[str]]) -> None:
    for rule in rules:
        for node in nodes(promql_parser.parse(rule["expr"])):
            below = frozenset[str]().union(*(known[str(each.name)] for each in selectors(node)))
            assert set(grouping(node)) <= below, rule["expr"]
            if isinstance(node, promql_parser.VectorSelector):
                assert {matcher.name for matcher in node.matchers.matchers} <= below, rule["expr"]


def test_a_recorded_series_is_named_for_its_labels(rules: list[Rule]) -> None:
    for rule in rules:
        if "record" in rule and (groups := _outermost_grouping(promql_parser.parse(rule["expr"]))):
            assert labels_in_name(rule["record"]) == set(groups) - {"le"}, rule["record"]


def _outermost_grouping(expression: promql_parser.Expr) -> list[str]:
    return next((labels for node in nodes(expression) if (labels := grouping(node)) and _sums(node)), [])


def _sums(node: promql_parser.Expr) -> bool:
    return isinstance(node, promql_parser.AggregateExpr)


def test_every_recorded_series_of_the_objectives_is_used(rules: list[Rule]) -> None:
    used = {name for rule in rules for name in series_asked_for(rule["expr"])}
    assert {name for name in recorded(rules) if name.startswith("slo:")} <= used


def test_probes_count_in_no_ratio(rules: list[Rule]) -> None:
    excluded = {
        matcher.value
        for rule in rules
        for selector in selectors(promql_parser.parse(rule["expr"]))
        for matcher in selector.matchers.matchers
        if matcher.name == "route" and matcher.op == promql_parser.MatchOp.NotRe and "ready" in matcher.value
    }
    assert excluded
    for pattern in excluded:
        assert all(re.fullmatch(pattern, probe) for probe in PROBES)


# -- what alerts carry


def test_every_alert_says_how_urgent_it_is_what_it_is_and_where_to_read_on(alerts: list[Rule]) -> None:
    assert len({alert["alert"] for alert in alerts}) > 25
    for alert in alerts:
        assert re.fullmatch("Crm[A-Z][A-Za-z]+", alert["alert"])
        assert alert["labels"].keys() == {"severity"}
        assert alert["labels"]["severity"] in ("page", "ticket")
        assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
        assert all(text.strip() for text in alert["annotations"].values())
        assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{alert['alert'].lower()}"


def test_an_alert_on_a_ratio_waits_five_to_fifteen_minutes(alerts: list[Rule]) -> None:
    on_ratios = [alert for alert in alerts if re.search("ratio|burn", alert["expr"])]
    assert on_ratios
    for alert in on_ratios:
        assert 300 <= promql_parser.parse_duration(alert["for"]).total_seconds() <= 900, alert["alert"]


def test_no_alert_counts_messages_where_time_can_be_told(alerts: list[Rule]) -> None:
    """Lag in events may be compared with nothing but 0: how many is no symptom."""
    for alert in alerts:
        for compared in re.findall(r"lag_events\S*(?:\{[^}]*\})?\)? *> *([\d.]+)", alert["expr"]):
            assert float(compared) == 0, alert["alert"]


# -- the tests of the alerts, which promtool runs


@pytest.fixture(scope="module")
def cases(prometheus: Path) -> list[Rule]:
    files = sorted((prometheus / "tests").glob("*.yml"))
    return [case for file in files for case in yaml.safe_load(file.read_text())["tests"]]


def fired(cases: list[Rule], alert: str, severity: str) -> list[dict[str, str]]:
    """The labels with which the alert fires in its tests."""
    return [
        labels
        for case in cases
        for asked in case["promql_expr_test"]
        for sample in asked["exp_samples"]
        if (labels := dict(FIRED.findall(sample["labels"])))["alertname"] == alert and labels["severity"] == severity
    ]


def test_every_alert_is_seen_to_fire_with_the_labels_that_its_texts_name(alerts: list[Rule], cases: list[Rule]) -> None:
    for alert in alerts:
        firing = fired(cases, alert["alert"], alert["labels"]["severity"])
        assert firing, f"{alert['alert']} ({alert['labels']['severity']}) never fires in a test"
        named = set(TEMPLATE_LABEL.findall(" ".join(alert["annotations"].values())))
        assert all(named <= labels.keys() for labels in firing), alert["alert"]


def test_every_alert_is_seen_to_keep_quiet_though_its_series_are_there(
    alerts: list[Rule], cases: list[Rule], rules: list[Rule]
) -> None:
    behind = {rule["record"]: set[str]() for rule in rules if "record" in rule}
    for rule in rules:
        if "record" in rule:
            behind[rule["record"]] |= series_asked_for(rule["expr"])
    for alert in alerts:
        watched = _raw(series_asked_for(alert["expr"]), behind)
        quiet = [
            case
            for case in cases
            if any(f'"{alert["alert"]}"' in t["expr"] and not t["exp_samples"] for t in case["promql_expr_test"])
            and watched & {series["series"].partition("{")[0] for series in case["input_series"]}
        ]
        assert quiet, f"{alert['alert']} is never seen to keep quiet"


def _raw(names: set[str], behind: Mapping[str, set[str]]) -> set[str]:
    """The exposed series from which these are made."""
    found: set[str] = set()
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        if name in behind:
            waiting |= behind[name] - {name}
        else:
            found.add(name)
    return found


# -- as Prometheus itself reads them


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed here; it comes with the Debian package `prometheus`")
    return found


def test_promtool_accepts_the_rules(promtool: str, prometheus: Path) -> None:
    _accepted([promtool, "check", "rules", *sorted((prometheus / "rules").glob("*.yml"))])


def test_promtool_sees_each_alert_fire_and_keep_quiet(promtool: str, prometheus: Path) -> None:
    _accepted([promtool, "test", "rules", *sorted((prometheus / "tests").glob("*.yml"))])


def test_promtool_accepts_the_configuration_as_the_container_has_it(promtool: str, tmp_path: Path) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    for mounted in compose["services"]["prometheus"]["configs"]:
        target = tmp_path / Path(mounted["target"]).relative_to("/etc/prometheus")
        target.parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / compose["configs"][mounted["source"]]["file"], target)
    said = _accepted([promtool, "check", "config", tmp_path / "prometheus.yml"])
    assert "2 rule files found" in said


def _accepted(command: list[str | Path]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_rule_file_is_mounted_and_read(prometheus: Path) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    mounted = {
        compose["configs"][each["source"]]["file"]: each["target"]
        for each in compose["services"]["prometheus"]["configs"]
    }
    for file in (prometheus / "rules").iterdir():
        assert mounted[str(file.relative_to(ROOT))] == f"/etc/prometheus/rules/{file.name}"
    configuration = yaml.safe_load((ROOT / "deploy/docker/prometheus.yml").read_text())
    assert configuration["rule_files"] == ["rules/*.yml"]


def test_the_names_of_processes_in_rules_are_those_that_the_scrape_gives(rules: list[Rule]) -> None:
    (job,) = yaml.safe_load((ROOT / "deploy/docker/prometheus.yml").read_text())["scrape_configs"]
    assert job["job_name"] == "crm"
    assert [each["target_label"] for each in job["relabel_configs"]] == ["process"]
    for rule in rules:
        for selector in selectors(promql_parser.parse(rule["expr"])):
            for matcher in selector.matchers.matchers:
                if matcher.name == "process":
                    assert [name for name in (*SERVICES, STREAM) if re.fullmatch(matcher.value, name)], rule["expr"]
