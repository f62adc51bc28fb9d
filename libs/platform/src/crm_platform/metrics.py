"""Every metric of the platform, declared once. Its text here is its documentation.

Labels are bounded: never an id, an address, or a path with ids in it.
"""

from prometheus_client import Counter, Gauge, Histogram

HTTP_REQUESTS = Counter(
    "crm_http_requests", "Requests answered, by route template and status.", ("method", "route", "status")
)
HTTP_REQUEST_SECONDS = Histogram(
    "crm_http_request_duration_seconds",
    "From the first byte of a request to the last byte of its answer.",
    ("method", "route"),
    buckets=(0.002, 0.005, 0.01, 0.02, 0.04, 0.075, 0.15, 0.3, 0.6, 1.25, 2.5, 5, 10),
)
COMMANDS = Counter("crm_commands", "Commands decided by the event store, by how they ended.", ("outcome",))

EVENTS_APPENDED = Counter("crm_events_appended", "Events stored, in committed transactions only.", ("event_type",))

RELAY_POSITION = Gauge("crm_relay_position", "Position of the newest stored event that the relay has published.")
RELAY_HEAD = Gauge("crm_relay_head", "Position of the newest stored event.")
EVENTS_PUBLISHED = Counter("crm_events_published", "Events that Kafka has acknowledged to the relay.", ("topic",))

EVENTS_CONSUMED = Counter(
    "crm_events_consumed",
    "Events read by a consumer. outcome: applied, duplicate (already applied), skipped (of a type it does not handle),"
    " gap (an event before it is missing), refused (an adapter's record that breaks the contract).",
    ("consumer", "topic", "outcome"),
)
PROJECTION_AGE = Gauge(
    "crm_projection_age_seconds", "How old the newest event was when the consumer applied it.", ("consumer",)
)
CONSUMER_LAG = Gauge(
    "crm_consumer_lag_events",
    "Records between a consumer's cursor and the end of the partition.",
    ("consumer", "topic", "partition"),
)
PARTITION_STOPPED = Gauge(
    "crm_partition_stopped",
    "1 while a consumer stands before an event that it cannot apply, else 0.",
    ("consumer", "topic", "partition"),
)
GAPS = Gauge(
    "crm_gap_open",
    "1 while an event is known to be missing in the partition, else 0.",
    ("consumer", "topic", "partition"),
)

ADAPTER_RECORDS_REFUSED = Counter(
    "crm_adapter_records_refused", "Records of channel adapters that break the contract.", ("topic",)
)

TOKEN_KEY_FETCHES = Counter(
    "crm_token_key_fetches", "Readings of the keys that verify access tokens. outcome: read, failed.", ("outcome",)
)

BUILD_INFO = Gauge("crm_build_info", "1; the labels say what is running.", ("service", "version"))
