"""CloudWatch's pages, of graphs whose names are known before anything that they show exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from components.alarms import Metric

# CloudWatch's grid has 24 columns.
_COLUMNS = 24
_HEIGHT = 6
_TEXT_HEIGHT = 2
# CloudWatch's own limit.
_ALARMS_OF_A_WIDGET = 100
_PERIOD = 300


@dataclass(frozen=True, kw_only=True)
class Line:
    """One series, under the name that a reader knows it by."""

    label: str
    metric: Metric


@dataclass(frozen=True, kw_only=True)
class Search:
    """The series of every resource whose name begins so, where its whole name is AWS's to choose."""

    label: str
    namespace: str
    dimension: str
    begins: str
    metric: str


@dataclass(frozen=True, kw_only=True)
class Graph:
    title: str
    lines: tuple[Line | Search, ...]


def body(region: str, intro: str, alarm_arns: list[str], rows: list[tuple[Graph, ...]]) -> dict[str, Any]:
    """A dashboard's body: text, the state of every alarm, and one row of graphs below the other."""
    widgets: list[dict[str, Any]] = []
    _add_row(widgets, _TEXT_HEIGHT, [{"type": "text", "properties": {"markdown": intro}}])
    for start in range(0, len(alarm_arns), _ALARMS_OF_A_WIDGET):
        arns = alarm_arns[start : start + _ALARMS_OF_A_WIDGET]
        _add_row(widgets, _HEIGHT, [{"type": "alarm", "properties": {"title": "Alarms", "alarms": arns}}])
    for row in rows:
        _add_row(widgets, _HEIGHT, [_graph(region, graph) for graph in row])
    return {"widgets": widgets}


def _add_row(widgets: list[dict[str, Any]], height: int, row: list[dict[str, Any]]) -> None:
    """Put what fills the width below everything else."""
    y = widgets[-1]["y"] + widgets[-1]["height"] if widgets else 0
    width = _COLUMNS // len(row)
    widgets += [
        {**widget, "x": position * width, "y": y, "width": width, "height": height}
        for position, widget in enumerate(row)
    ]


def _graph(region: str, graph: Graph) -> dict[str, Any]:
    return {
        "type": "metric",
        "properties": {
            "title": graph.title,
            "region": region,
            "view": "timeSeries",
            "period": _PERIOD,
            "metrics": [_series(line) for line in graph.lines],
        },
    }


def _series(line: Line | Search) -> list[Any]:
    if isinstance(line, Search):
        schema, wanted = f"{{{line.namespace},{line.dimension}}}", f'MetricName="{line.metric}"'
        found = f"SEARCH('{schema} {wanted} {line.dimension}={line.begins}', 'Sum')"
        return [{"expression": found, "label": line.label}]
    metric = line.metric
    dimensions = [part for pair in metric.dimensions.items() for part in pair]
    return [metric.namespace, metric.name, *dimensions, {"stat": metric.statistic, "label": line.label}]
