-- Nothing wrote `alarm_log` before. A row comes again, with the same time, alarm and number, when what
-- made it is killed between writing it and noting so: the view shows one of them.
DROP TABLE IF EXISTS alarm_log;

CREATE TABLE IF NOT EXISTS alarm_log_rows
(
    time     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    alarm    String CODEC(ZSTD(1)),
    n        Int64 CODEC(T64, ZSTD(1)),
    action   LowCardinality(String),
    by       LowCardinality(String),
    state    LowCardinality(String),
    severity LowCardinality(String),
    note     String CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (alarm, time, n)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, old_parts_lifetime = 120;

CREATE VIEW IF NOT EXISTS alarm_log AS
SELECT time, alarm, action, by, note, n, state, severity
FROM alarm_log_rows FINAL;
