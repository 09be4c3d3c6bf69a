"""What the embedded server counts, for Prometheus. No label ever holds what a client made up."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST as CONTENT_TYPE  # noqa: F401 (of `Metrics.page`)
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

UNKNOWN = "unknown"  # the label of a model that is not served
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counters of one server."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)  # process_resident_memory_bytes and others, on Linux
        self.requests = Counter(
            "kerasortho_serving_requests", "Predict requests answered.", ("model", "api", "code"),
            registry=self._registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "kerasortho_serving_request_seconds", "From the request's arrival to its answer.", ("model", "api"),
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self.batch_images = Histogram(
            "kerasortho_serving_batch_images", "Images computed together.", buckets=(1, 2, 4, 8, 16, 32, 64, 128),
            registry=self._registry,
        )  # fmt: skip
        self.loads = Counter(
            "kerasortho_serving_loads", "Versions loaded, or not.", ("model", "outcome"), registry=self._registry
        )

    def watch(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Add a value that is read whenever the metrics are."""
        Gauge(name, description, registry=self._registry).set_function(read)

    def page(self) -> bytes:
        """Return all of it in Prometheus' text format."""
        return generate_latest(self._registry)
