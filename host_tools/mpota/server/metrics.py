"""Figures for Prometheus; with several workers they are the sums of all of them."""

import os
import time
from collections.abc import Iterable

import prometheus_client as prometheus
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from mpota.server.options import METRICS_DIRECTORY

CONTENT_TYPE = prometheus.CONTENT_TYPE_LATEST
_TIMES_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
# The figures that are counted in the database, with their label and a description.
_COUNTED = {
    "boards": ("state", "Boards, by state."),
    "boards_seen": ("within", "Accepted boards that have asked within this time."),
    "updates": ("state", "Updates, by how they ended."),
    "rollouts": ("state", "Roll-outs, by state."),
}


class Metrics:
    """The figures of this worker."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._answers = Counter(
            "mpota_answers", "Answers to boards, by status.", ["status"], registry=self.registry
        )
        self._by_status: dict[int, Counter] = {}
        self._bytes = Counter(
            "mpota_image_bytes", "Bytes of images that workers have sent.", registry=self.registry
        )
        self._seconds = Histogram(
            "mpota_answer_seconds",
            "How long answers to boards took.",
            buckets=_TIMES_S,
            registry=self.registry,
        )
        self._shed = Counter(
            "mpota_shed", "Boards that were told to come back later.", registry=self.registry
        )
        self._failures = Counter(
            "mpota_database_failures",
            "Questions that the database did not answer.",
            registry=self.registry,
        )

    def answered(self, status: int, began: float, sent: int = 0) -> None:
        """Count an answer that began at *began* (perf_counter) and sent so many bytes."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._answers.labels(str(status))
        counter.inc()
        self._seconds.observe(time.perf_counter() - began)
        if sent:
            self._bytes.inc(sent)

    def shed(self) -> None:
        """Count a board that was told to come back later."""
        self._shed.inc()

    def failed(self) -> None:
        """Count a question that the database did not answer."""
        self._failures.inc()

    def page(self, counts: dict[str, dict[str, int]]) -> bytes:
        """Return the text for Prometheus; *counts* are from the database, by figure and label."""
        registry = self.registry
        if METRICS_DIRECTORY in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        counted = CollectorRegistry()
        counted.register(_Counted(counts))
        return prometheus.generate_latest(registry) + prometheus.generate_latest(counted)


class _Counted(Collector):
    """The figures that were counted in the database."""

    def __init__(self, counts: dict[str, dict[str, int]]) -> None:
        self._counts = counts

    def collect(self) -> Iterable[Metric]:
        for name, (label, text) in _COUNTED.items():
            family = GaugeMetricFamily(f"mpota_{name}", text, labels=[label])
            for value, count in self._counts.get(name, {}).items():
                family.add_metric([value], count)
            yield family
