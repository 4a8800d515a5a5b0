import pytest

from tests.promql import parse


def test_it_finds_what_is_asked_for() -> None:
    query = parse(
        'histogram_quantile(0.99, sum by (job, le) (rate(a_bucket{x=~"p|q", y!="}"}[5m]))) > 2 ^ 3 '
        "and on (job) b offset 1h >= 1e3 or time() - c_total"
    )
    assert query.metrics == ["a_bucket", "b", "c_total"]
    assert query.matchers == [("a_bucket", "x", "=~", "p|q"), ("a_bucket", "y", "!=", "}")]
    assert query.grouped == [(["job", "le"], ["a_bucket"]), (["job"], ["a_bucket", "b", "c_total"])]


@pytest.mark.parametrize(
    "wrong",
    ["rte(a[5m])", "count_(a)", "sum(a) by (x)", "sum without (x) (a)", "sum(a", 'a{x="1" y="2"}', "a ? b", "a{x=1}"],
)
def test_it_refuses_what_it_does_not_know(wrong: str) -> None:
    with pytest.raises(AssertionError):
        parse(wrong)
