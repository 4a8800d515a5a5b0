"""As much of PromQL as deploy/ uses: which metrics, matchers and groupings an expression has.

It takes less than Prometheus: `by (...)` before its brackets, `on (...)`, and the functions below.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass

FUNCTIONS = {
    "abs",
    "absent",
    "avg_over_time",
    "changes",
    "histogram_quantile",
    "increase",
    "log2",
    "rate",
    "time",
    "vector",
}
AGGREGATIONS = {"sum", "count", "avg", "min", "max"}
OPERATORS = {"and", "or", "unless"}
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<range>\[[^\]]*\])
    |(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?(?P<unit>ms|[smhdwy])?)
    |(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)
    |(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){},])""",
    re.VERBOSE,
)


def tokens(expression: str) -> list[str]:
    """Split PromQL, Grafana's variables put in first."""
    text = expression.replace("$__rate_interval", "1m").replace("$job", "a").replace("$instance", "a")
    found, position = [], 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match, f"not understood: {text[position : position + 20]!r} in {expression!r}"
        position = match.end()
        if match.lastgroup != "space":
            found.append(match[0])
    return found


def is_name(token: str) -> bool:
    return re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", token) is not None


@dataclass(frozen=True)
class Query:
    """What one PromQL expression asks for.

    Attributes:
        metrics: names of samples.
        matchers: (metric, label, operator, value) of each selector's matchers.
        grouped: (labels, metrics inside) of each `by (...)` and of `on (...)`, there with all the metrics.
    """

    metrics: list[str]
    matchers: list[tuple[str, str, str, str]]
    grouped: list[tuple[list[str], list[str]]]


def closing(found: list[str], opening: int) -> int:
    """Return where the bracket closes that opens here."""
    pairs = {"(": ")", "{": "}"}
    depth = 0
    for index in range(opening, len(found)):
        depth += (found[index] == found[opening]) - (found[index] == pairs[found[opening]])
        if depth == 0:
            return index
    raise AssertionError(f"not closed: {' '.join(found[opening:])}")


def metrics_in(found: list[str]) -> Iterator[tuple[int, str]]:
    """Yield position and name of each metric; what is no metric has to be a function, an operator or a label."""
    index = 0
    while index < len(found):
        token = found[index]
        after = found[index + 1] if index + 1 < len(found) else ""
        if token in ("by", "on"):
            index = closing(found, index + 1)
        elif token == "{":
            index = closing(found, index)
        elif token in AGGREGATIONS:
            assert after in ("by", "("), f"{token} is followed by {after!r}"
        elif is_name(token) and after == "(" and token not in OPERATORS:
            assert token in FUNCTIONS, f"no known function: {token}"
        elif is_name(token) and token not in OPERATORS and token != "offset":
            yield index, token
        index += 1


def matchers_of(metric: str, inside: list[str]) -> Iterator[tuple[str, str, str, str]]:
    while inside:
        label, operator, value, *rest = inside
        assert is_name(label)
        assert operator in ("=", "!=", "=~", "!~")
        assert value.startswith('"')
        yield metric, label, operator, json.loads(value)
        assert not rest or rest[0] == ","
        inside = rest[1:]


def parse(expression: str) -> Query:
    """Read an expression; whatever is not understood is an AssertionError."""
    found = tokens(expression)
    assert [found.count(bracket) for bracket in "({"] == [found.count(bracket) for bracket in ")}"]
    named = list(metrics_in(found))
    metrics = [name for _, name in named]
    matchers = [
        matcher
        for index, name in named
        if found[index + 1 : index + 2] == ["{"]
        for matcher in matchers_of(name, found[index + 2 : closing(found, index + 1)])
    ]
    grouped = []
    for index, token in enumerate(found):
        if token in ("by", "on"):
            end = closing(found, index + 1)
            labels = [label for label in found[index + 2 : end] if label != ","]
            over = found[end + 1 : closing(found, end + 1)] if token == "by" else found
            grouped.append((labels, [name for _, name in metrics_in(over)]))
    return Query(metrics, matchers, grouped)
