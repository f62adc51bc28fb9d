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
COMMANDS_WAITING = Gauge("crm_commands_waiting", "Commands that wait for the event store's writer.")
REQUESTS_SHED = Counter(
    "crm_requests_shed",
    "Requests refused at the edge so that those in work are answered. reason: busy (503), rate (429), breaker (503),"
    " streams (429 or 503: too many event streams are open).",
    ("reason",),
)

EVENTS_APPENDED = Counter("crm_events_appended", "Events stored, in committed transactions only.", ("event_type",))

RELAY_POSITION = Gauge("crm_relay_position", "Position of the newest stored event that the relay has published.")
RELAY_HEAD = Gauge("crm_relay_head", "Position of the newest stored event.")
RELAY_LAG_SECONDS = Gauge(
    "crm_relay_lag_seconds", "How long the oldest stored event that is not published yet has waited; 0 if none waits."
)
RELAY_STOPPED = Gauge("crm_relay_stopped", "1 while the relay refuses to run or cannot send its next event, else 0.")
EVENTS_PUBLISHED = Counter("crm_events_published", "Events that Kafka has acknowledged to the relay.", ("topic",))

CHAIN_SIGNED_POSITION = Gauge(
    "crm_chain_signed_position", "Position of the newest stored event that a signed checkpoint covers."
)
CHAIN_UNSIGNED_SECONDS = Gauge(
    "crm_chain_unsigned_seconds", "How long ago every stored event was last seen covered by a signed checkpoint."
)

EVENTS_CONSUMED = Counter(
    "crm_events_consumed",
    "Events read by a consumer. outcome: applied, duplicate (already applied), skipped (of a type it does not handle),"
    " gap (an event before it is missing), parked (it waits for an operator), refused (an adapter's record that breaks"
    " the contract).",
    ("consumer", "topic", "outcome"),
)
CONSUMER_BATCHES = Counter("crm_consumer_batches", "Batches that a consumer has applied.", ("consumer",))
CONSUMER_BATCH_SECONDS = Histogram(
    "crm_consumer_batch_duration_seconds",
    "From a batch as read to its results and cursors as committed.",
    ("consumer",),
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30),
)
REBALANCES = Counter("crm_consumer_rebalances", "Times that partitions were assigned to a consumer.", ("consumer",))
PROJECTION_AGE = Gauge(
    "crm_projection_age_seconds", "How old the newest event was when the consumer applied it.", ("consumer",)
)
EVENT_AGE = Histogram(
    "crm_event_age_seconds",
    "How old an event was, counted from its recording, when a consumer had applied it; the newest of each batch.",
    ("consumer",),
    buckets=(0.02, 0.04, 0.075, 0.15, 0.3, 0.6, 1, 2, 5, 10, 30, 60, 300, 900, 3600),
)
CONSUMER_LAG = Gauge(
    "crm_consumer_lag_events",
    "Records between a consumer's cursor and the end of the partition.",
    ("consumer", "topic", "partition"),
)
CONSUMER_LAG_SECONDS = Gauge(
    "crm_consumer_lag_seconds",
    "How long a consumer has been behind: 0 while it is at the end of all its partitions.",
    ("consumer",),
)
CONSUMER_STUCK = Gauge(
    "crm_consumer_stuck",
    "1 while a consumer makes no progress although it lags and all that it needs answers, else 0.",
    ("consumer",),
)
GAPS = Gauge(
    "crm_gap_open",
    "1 while an event is known to be missing in the partition, else 0.",
    ("consumer", "topic", "partition"),
)
RECORDS_LOST = Gauge(
    "crm_records_lost",
    "1 once a topic no longer held what a consumer's cursor asked for, until the consumer reads on without loss.",
    ("consumer", "topic", "partition"),
)
PARKED_KEYS = Gauge("crm_parked_keys", "Keys whose events wait for an operator.", ("consumer",))
PARKED_EVENTS = Gauge("crm_parked_events", "Events that wait for an operator.", ("consumer",))
PARKED_OLDEST_SECONDS = Gauge(
    "crm_parked_oldest_seconds", "How long the oldest parked event has waited; 0 if none is parked.", ("consumer",)
)
PARKED_RESOLVED = Counter(
    "crm_parked_resolved",
    "Parked events that an operator resolved. action: retried, discarded.",
    ("consumer", "action"),
)
UNKNOWN_EVENTS = Counter(
    "crm_unknown_events", "Events read of a type that this release does not know.", ("consumer", "topic")
)
UPCASTS = Counter(
    "crm_upcasts",
    "Events read that were written in an older version, by the type as it was written. At 0, nothing that is read needs"
    " the steps from that version.",
    ("event_type",),
)

ADAPTER_RECORDS_REFUSED = Counter(
    "crm_adapter_records_refused", "Records of channel adapters that break the contract.", ("topic",)
)

MONGODB_RETRIES = Counter("crm_mongodb_transaction_retries", "MongoDB transactions tried again after a passing error.")
DEPENDENCY_UP = Gauge(
    "crm_dependency_up",
    "1 if the part answered when last asked, else 0. dependency: kafka, mongodb, postgresql.",
    ("dependency",),
)

EVENT_STREAMS = Gauge("crm_event_streams", "Streams of events that are open to subscribers.")
EVENTS_GIVEN = Counter("crm_events_given", "Events given to subscribers, in pages and streams.", ("topic",))

KEYS_DESTROYED = Counter("crm_keys_destroyed", "Data subjects whose keys commands and reactions have destroyed.")
DESTROYED_KEYS_UNPUBLISHED = Gauge(
    "crm_destroyed_keys_unpublished", "Destroyed keys, at most 1,000, that Kafka has not acknowledged as such yet."
)
ERASURE_STEPS_DUE = Gauge(
    "crm_erasure_steps_due", "Erasures of which the service was ordered to take a step that it has not taken yet."
)
ERASURES_OPEN = Gauge("crm_erasures_open", "Erased contacts of which not every service has acknowledged the erasure.")
ERASURE_OLDEST_SECONDS = Gauge(
    "crm_erasure_oldest_open_seconds",
    "How long ago the oldest of those was confirmed; 0 where there is none.",
)
ERASURE_REQUEST_OLDEST_SECONDS = Gauge(
    "crm_erasure_oldest_request_seconds",
    "How long ago the oldest erasure was asked for that is neither complete nor withdrawn; 0 where there is none.",
)
PURGED_RECORDS = Counter(
    "crm_purged_records", "Records deleted from a topic that others write, once they were taken in.", ("topic",)
)
PURGED_TOPIC_OLDEST_SECONDS = Gauge(
    "crm_purged_topic_oldest_seconds",
    "How old the oldest record was that such a topic still held when it was last purged; 0 where it held none.",
    ("topic",),
)

PART_ALIVE = Gauge(
    "crm_part_alive",
    "1 while a part of the process (a consumer, the relay, the store's writer) makes progress; at 0 /livez says 503.",
    ("part",),
)
PART_READY = Gauge(
    "crm_part_ready", "1 once a part of the process can do its work; at 0 /readyz says 503 and names it.", ("part",)
)

TOKEN_KEY_FETCHES = Counter(
    "crm_token_key_fetches", "Readings of the keys that verify access tokens. outcome: read, failed.", ("outcome",)
)

BUILD_INFO = Gauge("crm_build_info", "1; the labels say what is running.", ("service", "version"))
