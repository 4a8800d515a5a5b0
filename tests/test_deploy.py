"""The metrics in deploy/ and docs/monitoring.md match those of a running service."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import promql_parser
import pytest
import yaml
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from app.errors import ServiceError
from app.inference.reloading import Reload
from app.settings import Settings
from tests.app.fakes import PHOTO, FixedEngine, app_with

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs" / "monitoring.md").read_text("utf-8")

OF_THE_SCRAPE = {"job", "instance"}
"""Labels that Prometheus adds to everything it scrapes. It also adds the metric `up`."""


@dataclass(frozen=True)
class Exposed:
    """The metrics of a running service.

    Attributes:
        rows: (name, type, labels) of each metric, as docs/monitoring.md lists it.
        samples: name of a sample, such as a histogram's `_bucket` -> its labels, with those of the scrape.
        values: (name of a sample, label) -> the values that appear.
    """

    rows: frozenset[tuple[str, str, frozenset[str]]]
    samples: dict[str, frozenset[str]]
    values: dict[tuple[str, str], set[str]]


@cache
def exposed() -> Exposed:
    app = app_with(FixedEngine())
    with TestClient(app) as client:
        assert client.post("/detect", content=PHOTO).status_code == 200
        app.state.metrics.reloaded("refused")  # a photo starts every series but this one
        text = client.get("/metrics").text
    rows = set()
    samples: dict[str, frozenset[str]] = {"up": frozenset(OF_THE_SCRAPE)}
    values: dict[tuple[str, str], set[str]] = {}
    for family in text_string_to_metric_families(text):
        assert family.samples, f"{family.name} has no series: give it one above"
        for sample in family.samples:
            samples[sample.name] = frozenset(sample.labels) | OF_THE_SCRAPE
            for label, value in sample.labels.items():
                values.setdefault((sample.name, label), set()).add(value)
        name = family.name + ("_total" if family.type == "counter" else "")
        rows.add((name, family.type, frozenset(family.samples[0].labels) - {"le"}))
    return Exposed(frozenset(rows), samples, values)


@dataclass(frozen=True)
class Query:
    """The parts of a PromQL expression that have to exist.

    Attributes:
        metrics: names of samples.
        matchers: (metric, label, whether the operator is `=`, value) of each selector's matchers.
        grouped: (labels, metrics inside) of each `by (...)` and then of each `on (...)`.
    """

    metrics: list[str]
    matchers: list[tuple[str, str, bool, str]]
    grouped: list[tuple[list[str], list[str]]]


def parse(expression: str) -> Query:
    """Read an expression, which may hold Grafana's variables. Raises ValueError if it is not PromQL."""
    text = expression.replace("$__rate_interval", "1m").replace("$job", "a").replace("$instance", "a")
    found = promql_parser.parse(text)
    selectors = selectors_in(found)
    return Query(
        [str(selector.name) for selector in selectors],
        [
            (str(item.name), matcher.name, matcher.op == promql_parser.MatchOp.Equal, matcher.value)
            for item in selectors
            for matcher in item.matchers.matchers
        ],
        [(labels, [str(item.name) for item in selectors_in(node)]) for labels, node in groupings_in(found)],
    )


def nodes_in(expression: promql_parser.Expr) -> list[promql_parser.Expr]:
    nodes: list[promql_parser.Expr] = []
    promql_parser.walk(expression, pre_visit=nodes.append)
    return nodes


def selectors_in(expression: promql_parser.Expr) -> list[promql_parser.VectorSelector]:
    return [node for node in nodes_in(expression) if isinstance(node, promql_parser.VectorSelector)]


def groupings_in(expression: promql_parser.Expr) -> Iterator[tuple[list[str], promql_parser.Expr]]:
    nodes = nodes_in(expression)
    for node in nodes:
        if isinstance(node, promql_parser.AggregateExpr) and node.modifier:
            assert node.modifier.type == promql_parser.AggModifierType.By
            yield node.modifier.labels, node
    for node in nodes:
        if isinstance(node, promql_parser.BinaryExpr) and node.modifier and node.modifier.matching:
            assert node.modifier.matching.type == promql_parser.LabelModifierType.Include
            yield node.modifier.matching.labels, node


def loaded(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


ALERTS: list[dict[str, Any]] = [rule for group in loaded("prometheus/alerts.yml")["groups"] for rule in group["rules"]]
DASHBOARD: dict[str, Any] = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text("utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
VARIABLES: list[dict[str, Any]] = DASHBOARD["templating"]["list"]


def of_variables() -> Iterator[tuple[str, str, list[str]]]:
    for variable in VARIABLES[1:]:
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["definition"])
        assert match, variable["definition"]
        assert variable["query"]["query"] == variable["definition"]
        yield f"${variable['name']}", match[1], [match[2]]


def in_braces(*templates: str) -> list[str]:
    return [label for template in templates for label in re.findall(r"{{\s*(\w+)\s*}}", template)]


EXPRESSIONS = [
    *((rule["alert"], rule["expr"], re.findall(r"\$labels\.(\w+)", str(rule["annotations"]))) for rule in ALERTS),
    *(
        (f"{panel['title']} {target['refId']}", target["expr"], in_braces(target["legendFormat"]))
        for panel in PANELS
        for target in panel.get("targets", [])
    ),
    *(
        (item["name"], item["expr"], in_braces(item["titleFormat"], item["textFormat"]))
        for item in DASHBOARD["annotations"]["list"]
    ),
    *of_variables(),
]
"""(its place, the PromQL, the displayed labels of its result) of each expression."""


@pytest.mark.parametrize(
    ("expression", "shown"), [item[1:] for item in EXPRESSIONS], ids=[item[0] for item in EXPRESSIONS]
)
def test_expression_uses_exposed_metrics_and_labels(expression: str, shown: list[str]) -> None:
    query, samples = parse(expression), exposed().samples
    assert query.metrics
    assert [name for name in query.metrics if name not in samples] == []
    assert [(name, label) for name, label, *_ in query.matchers if label not in samples[name]] == []
    for labels, names in query.grouped:
        assert names
        assert [(name, label) for label in labels for name in names if label not in samples[name] | {"le"}] == []
        assert "le" not in labels or all("le" in samples[name] for name in names)
    result = query.grouped[0][0] if query.grouped else {label for name in query.metrics for label in samples[name]}
    assert set(shown) <= set(result)


def values_of(metric: str, label: str) -> set[str]:
    """Return the possible values of a label."""
    problems = {error.slug for error in ServiceError.__subclasses__()}
    known = {
        ("detect_requests_total", "outcome"): {"ok", "client-gone"} | problems,
        ("detect_reloads_total", "outcome"): set(get_args(get_type_hints(Reload)["outcome"])),
    }
    return known.get((metric, label), exposed().values.get((metric, label), set()))


def test_matchers_use_possible_label_values() -> None:
    looked_for = {
        (metric, label, value)
        for _, expression, _ in EXPRESSIONS
        for metric, label, is_equal, value in parse(expression).matchers
        if is_equal and label not in OF_THE_SCRAPE
    }
    assert {value for _, label, value in looked_for if label == "outcome"} >= {"overloaded", "refused"}
    assert [item for item in looked_for if item[2] not in values_of(*item[:2])] == []


def test_dashboard_shows_every_metric() -> None:
    shown = {name for panel in PANELS for target in panel.get("targets", []) for name in parse(target["expr"]).metrics}
    families = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} - {"up"}
    assert families == {name for name, _, _ in exposed().rows}


def table(heading: str) -> list[list[str]]:
    """Return the cells of the table under a heading of docs/monitoring.md."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_docs_list_exposed_metrics() -> None:
    rows = table("Metrics")
    listed = [(name.strip("`"), kind, frozenset(re.findall(r"`(\w+)`", labels))) for name, kind, labels, _ in rows]
    assert len(listed) == len(set(listed))
    assert set(listed) == exposed().rows
    assert all(meaning for *_, meaning in rows)


def test_docs_list_alerts() -> None:
    listed = [(name.strip("`"), severity) for name, severity, _ in table("Alerts")]
    assert listed == [(rule["alert"], rule["labels"]["severity"]) for rule in ALERTS]


@pytest.mark.parametrize("rule", ALERTS, ids=[rule["alert"] for rule in ALERTS])
def test_alert_has_severity_and_instructions(rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+[smh]", rule["for"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"].keys() == {"summary", "description"}
    assert len(rule["annotations"]["description"]) > 100
    jobs = {matcher for matcher in parse(rule["expr"]).matchers if matcher[1] == "job"}
    assert {value for *_, value in jobs} == {loaded("prometheus/prometheus.yml")["scrape_configs"][0]["job_name"]}


def test_alert_limits_match_defaults() -> None:
    expressions = {rule["alert"]: rule["expr"] for rule in ALERTS}
    assert expressions["RendersightQueueNearFull"].endswith(f" * {Settings.model_fields['queue_size'].default}")
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    assert compose["services"]["detect"]["mem_limit"] == "8g"
    assert expressions["RendersightMemory"].endswith(" * 8 * 2 ^ 30")


def test_every_alert_fires_in_a_promtool_test() -> None:
    files = sorted((DEPLOY / "prometheus").glob("*.test.yml"))
    tests = [test for file in files for test in yaml.safe_load(file.read_text("utf-8"))["tests"]]
    cases = [case for test in tests for case in test["promql_expr_test"]]
    fired = " ".join(
        f"{case['expr']} {case['exp_samples']}" for case in cases if any(item["value"] for item in case["exp_samples"])
    )
    assert [rule["alert"] for rule in ALERTS if f'"{rule["alert"]}"' not in fired] == []
    series = {re.match(r"\w+", item["series"]) for test in tests for item in test["input_series"]}
    assert {match[0] for match in series if match} <= exposed().samples.keys()


def test_panels_do_not_overlap() -> None:
    ids = [panel["id"] for panel in PANELS]
    assert len(set(ids)) == len(ids)
    rows = [panel["title"] for panel in PANELS if panel["type"] == "row"]
    assert rows == [
        "Traffic and outcomes",
        "Latency and stages",
        "Queue",
        "Model and reloads",
        "Objects, scores and drift",
        "Process",
    ]
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {(at["x"] + right, at["y"] + down) for right in range(at["w"]) for down in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    heights = [panel["gridPos"]["y"] for panel in PANELS]
    assert heights == sorted(heights)


def test_panels_use_chosen_data_source() -> None:
    assert (VARIABLES[0]["name"], VARIABLES[0]["type"], VARIABLES[0]["query"]) == (
        "datasource",
        "datasource",
        "prometheus",
    )
    asked = [
        *(panel for panel in PANELS if panel["type"] != "row"),
        *(target for panel in PANELS for target in panel.get("targets", [])),
        *DASHBOARD["annotations"]["list"],
        *VARIABLES[1:],
    ]
    assert {item["datasource"]["uid"] for item in asked} == {"${datasource}"}
    assert DASHBOARD["id"] is None
    assert DASHBOARD["schemaVersion"] >= 41


MONITORING = loaded("docker-compose.monitoring.yml")["services"]
ADDED = {name: MONITORING[name] for name in ("prometheus", "grafana")}


@pytest.mark.parametrize("name", ADDED)
def test_monitoring_containers_are_pinned_and_confined(name: str) -> None:
    service = ADDED[name]
    assert re.fullmatch(r"\w+/\w+:v?\d+\.\d+\.\d+", service["image"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "network_mode", "pid"}
    assert [port.startswith("127.0.0.1:") for port in service["ports"]] == [True]
    (mount,) = (volume for volume in service["volumes"] if isinstance(volume, dict))
    assert mount["read_only"] is True
    assert (ROOT / mount["source"]).is_dir()


def test_files_refer_to_existing_names() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    watched = MONITORING.keys() - ADDED
    assert watched == compose["services"].keys()
    (scrape,) = loaded("prometheus/prometheus.yml")["scrape_configs"]
    (target,) = scrape["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert all(MONITORING[name]["networks"]["default"]["aliases"] == [host] for name in watched)
    assert int(port) == Settings.model_fields["port"].default
    rules = loaded("prometheus/prometheus.yml")["rule_files"]
    assert [(DEPLOY / "prometheus" / name).is_file() for name in rules] == [True]

    (source,) = loaded("grafana/provisioning/datasources/prometheus.yml")["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = loaded("grafana/provisioning/dashboards/rendersight.yml")["providers"]
    (mount,) = (volume for volume in ADDED["grafana"]["volumes"] if isinstance(volume, dict))
    assert provider["options"]["path"] == mount["target"]
    environment = ADDED["grafana"]["environment"]
    for variable in ("GF_PATHS_PROVISIONING", "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"):
        inside = Path(environment[variable]).relative_to(mount["target"])
        assert (ROOT / mount["source"] / inside).exists()
