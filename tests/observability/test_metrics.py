"""Every metric is named as Prometheus wants it, bounded in its labels, and set by somebody."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase

from crm_platform import metrics

ROOT = Path(__file__).parents[2]
DECLARED = {name: metric for name, metric in vars(metrics).items() if isinstance(metric, MetricWrapperBase)}

BOUNDED_LABELS = frozenset((
    "action", "consumer", "dependency", "event_type", "method", "outcome", "part", "partition", "reason", "route",
    "service", "status", "topic", "version",
))  # fmt: skip
"""Labels whose values are written in the code or in the topics' declaration. Nothing that grows with customers, and no
text that comes from outside, may be one."""

WITH_ONE_OF_EACH = """
import sys
from prometheus_client import Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics import MetricWrapperBase
from crm_platform import metrics
for metric in vars(metrics).values():
    if isinstance(metric, MetricWrapperBase):
        child = metric.labels(*("some" for _ in metric._labelnames)) if metric._labelnames else metric
        child.observe(0.1) if isinstance(metric, Histogram) else child.inc()
sys.stdout.buffer.write(generate_latest())
"""


def test_no_metric_has_a_label_without_bounds() -> None:
    for name, metric in DECLARED.items():
        assert set(metric._labelnames) <= BOUNDED_LABELS, name


def test_every_metric_says_what_it_means() -> None:
    for name, metric in DECLARED.items():
        assert metric._name.startswith("crm_"), name
        assert len(metric._documentation.split()) > 3, name
        assert metric._documentation[-1] in ".;" or metric._documentation.startswith("1;"), name


def test_every_metric_is_set_by_somebody() -> None:
    used = {name for file in _sources() for name in _imported_metrics(file)}
    assert used, "no module imports a metric"
    assert set(DECLARED) - used == set()


def _sources() -> list[Path]:
    return [*ROOT.glob("libs/*/src/**/*.py"), *ROOT.glob("services/*/src/**/*.py")]


def _imported_metrics(file: Path) -> set[str]:
    imports = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom))
    return {alias.name for each in imports if each.module == "crm_platform.metrics" for alias in each.names}


@pytest.mark.parametrize(
    ("histogram", "seconds"),
    [
        (metrics.EVENT_AGE, 0.04),
        (metrics.EVENT_AGE, 0.15),
        (metrics.HTTP_REQUEST_SECONDS, 0.04),
        (metrics.HTTP_REQUEST_SECONDS, 0.15),
        (metrics.HTTP_REQUEST_SECONDS, 0.3),
    ],
)
def test_an_objective_stands_exactly_on_a_bound(histogram: Histogram, seconds: float) -> None:
    assert seconds in histogram._kwargs["buckets"]


def test_every_bound_that_a_rule_names_is_one_of_its_histogram(rules: list[dict[str, Any]]) -> None:
    histograms = {f"{h._name}_bucket": h for h in DECLARED.values() if isinstance(h, Histogram)}
    named: list[tuple[str, str]] = []

    def look(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            named.extend((str(node.name), m.value) for m in node.matchers.matchers if m.name == "le")

    for rule in rules:
        promql_parser.walk(promql_parser.parse(rule["expr"]), look)
    assert named
    for series, bound in named:
        assert float(bound) in histograms[series]._kwargs["buckets"], (series, bound)


def test_promtool_accepts_what_a_process_exposes() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed here; it comes with the Debian package `prometheus`")
    rendered = subprocess.run([sys.executable, "-c", WITH_ONE_OF_EACH], capture_output=True, check=True, timeout=60)
    assert rendered.stdout.count(b"# TYPE crm_") >= len(DECLARED)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=rendered.stdout, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
