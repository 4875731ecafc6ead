CREATE TABLE IF NOT EXISTS detections
(
    time       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    received   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    camera     LowCardinality(String),
    track      String CODEC(ZSTD(1)),
    class      LowCardinality(String),
    score      Float32 CODEC(ZSTD(1)),
    zone       LowCardinality(String),
    rule       LowCardinality(String),
    direction  LowCardinality(String),
    speed_mps  Float32 CODEC(ZSTD(1)),
    box_left   Float32 CODEC(ZSTD(1)),
    box_top    Float32 CODEC(ZSTD(1)),
    box_right  Float32 CODEC(ZSTD(1)),
    box_bottom Float32 CODEC(ZSTD(1)),
    lat        Float64 CODEC(ZSTD(1)),
    lon        Float64 CODEC(ZSTD(1)),
    plate_hash String CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(time)
ORDER BY (toStartOfHour(time), camera, track, time)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, old_parts_lifetime = 120;

CREATE TABLE IF NOT EXISTS uplinks
(
    time         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    device       LowCardinality(String),
    dev_eui      LowCardinality(String),
    gateway      LowCardinality(String),
    rssi_dbm     Float64 CODEC(ZSTD(1)),
    snr_db       Float64 CODEC(ZSTD(1)),
    frequency_hz Float64 CODEC(ZSTD(1)),
    data_rate    LowCardinality(String),
    f_cnt        Int64 CODEC(Delta, ZSTD(1)),
    f_port       Int64 CODEC(T64, ZSTD(1)),
    airtime_ms   Float64 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(time)
ORDER BY (toStartOfHour(time), device, time, gateway)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, old_parts_lifetime = 120;

-- An event comes again, under the same id and time, when rules replay: the table keeps one of
-- them once it has merged, and the view `events` shows one of them always.
CREATE TABLE IF NOT EXISTS events_log
(
    time         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    received     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    id           String CODEC(ZSTD(1)),
    rule         LowCardinality(String),
    rule_version LowCardinality(String),
    severity     LowCardinality(String),
    state        LowCardinality(String),
    domain       LowCardinality(String),
    device       LowCardinality(String),
    zone         LowCardinality(String),
    key          String CODEC(ZSTD(1)),
    text         String CODEC(ZSTD(1)),
    context      JSON(max_dynamic_paths = 32) CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (time, id)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, old_parts_lifetime = 120;

CREATE VIEW IF NOT EXISTS events AS
SELECT time, received, id, rule, rule_version, severity, state, domain, device, zone, key, text, context
FROM events_log FINAL;

CREATE TABLE IF NOT EXISTS alarm_log
(
    time   DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    alarm  String CODEC(ZSTD(1)),
    action LowCardinality(String),
    by     LowCardinality(String),
    note   String CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (alarm, time)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, old_parts_lifetime = 120;

CREATE TABLE IF NOT EXISTS rejected
(
    received DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    source   LowCardinality(String),
    topic    String CODEC(ZSTD(1)),
    reason   LowCardinality(String),
    detail   String CODEC(ZSTD(1)),
    payload  String CODEC(ZSTD(3))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(received)
ORDER BY (reason, received)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, old_parts_lifetime = 120;
