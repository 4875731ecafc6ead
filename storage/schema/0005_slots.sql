-- Observations go by slots: the hour of a row, and once its day is over the four hours that it is in,
-- so that a device's week is some forty places on the disk and not seven hundred. The column is set
-- when rows are brought in order (storage/settle.go); nobody else writes it and no `SELECT *` has it.
-- What a query asks of the time alone is found by the index on it. The program moves the rows of a
-- database made before into this table, which then changes names with theirs.
CREATE TABLE IF NOT EXISTS observations_next
(
    time     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    received DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    domain   LowCardinality(String) CODEC(ZSTD(1)),
    device   LowCardinality(String) CODEC(ZSTD(1)),
    metric   LowCardinality(String) CODEC(ZSTD(1)),
    value    Float64 CODEC(ZSTD(1)),
    text     String CODEC(ZSTD(1)),
    quality  UInt8 CODEC(ZSTD(1)),
    slot     DateTime('UTC') MATERIALIZED toStartOfHour(time) CODEC(Delta, ZSTD(1)),
    INDEX by_time time TYPE minmax GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(time)
ORDER BY (slot, device, time, metric)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, old_parts_lifetime = 120, merge_selector_base = 12;
