-- What devices measured: one row a value. The rows of one message are neighbours in this order, so
-- that what they share (times, device, domain) costs next to nothing; the hour in front makes "one
-- metric, now" a read of the newest hours, and the device behind it makes "one device, a time
-- range" a few granules an hour. docs/decisions/storage-schema.md has the figures.
CREATE TABLE IF NOT EXISTS observations
(
    time     DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    received DateTime64(3, 'UTC') CODEC(DoubleDelta, ZSTD(1)),
    domain   LowCardinality(String) CODEC(ZSTD(1)),
    device   LowCardinality(String) CODEC(ZSTD(1)),
    metric   LowCardinality(String) CODEC(ZSTD(1)),
    value    Float64 CODEC(ZSTD(1)),
    text     String CODEC(ZSTD(1)),
    quality  UInt8 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(time)
ORDER BY (toStartOfHour(time), device, time, metric)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1, old_parts_lifetime = 120;

-- Rollups are kept as states that merge: a minute's, fed by every insert, and an hour's, fed by
-- the minutes. Text metrics have no number and are not in them. `latest` is the greatest
-- (time, value), which is the last value.
CREATE TABLE IF NOT EXISTS observations_1m_state
(
    time   DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    domain LowCardinality(String) CODEC(ZSTD(1)),
    device LowCardinality(String) CODEC(ZSTD(1)),
    metric LowCardinality(String) CODEC(ZSTD(1)),
    n      SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    lo     SimpleAggregateFunction(min, Float64) CODEC(ZSTD(1)),
    hi     SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    total  SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    latest SimpleAggregateFunction(max, Tuple(DateTime64(3, 'UTC'), Float64)) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMMDD(time)
ORDER BY (toStartOfHour(time), device, metric, time, domain)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1, old_parts_lifetime = 120;

CREATE TABLE IF NOT EXISTS observations_1h_state
(
    time   DateTime('UTC') CODEC(DoubleDelta, ZSTD(1)),
    domain LowCardinality(String) CODEC(ZSTD(1)),
    device LowCardinality(String) CODEC(ZSTD(1)),
    metric LowCardinality(String) CODEC(ZSTD(1)),
    n      SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    lo     SimpleAggregateFunction(min, Float64) CODEC(ZSTD(1)),
    hi     SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    total  SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    latest SimpleAggregateFunction(max, Tuple(DateTime64(3, 'UTC'), Float64)) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (device, metric, time, domain)
SETTINGS non_replicated_deduplication_window = 1000, ttl_only_drop_parts = 1, old_parts_lifetime = 120;

CREATE MATERIALIZED VIEW IF NOT EXISTS observations_1m_feed TO observations_1m_state AS
SELECT toStartOfMinute(o.time) AS time, domain, device, metric, count() AS n, min(value) AS lo,
       max(value) AS hi, sum(value) AS total, max((o.time, value)) AS latest
FROM observations AS o
WHERE NOT isNaN(value)
GROUP BY time, domain, device, metric;

CREATE MATERIALIZED VIEW IF NOT EXISTS observations_1h_feed TO observations_1h_state AS
SELECT toStartOfHour(m.time) AS time, domain, device, metric, sum(m.n) AS n, min(m.lo) AS lo,
       max(m.hi) AS hi, sum(m.total) AS total, max(m.latest) AS latest
FROM observations_1m_state AS m
GROUP BY time, domain, device, metric;

CREATE VIEW IF NOT EXISTS observations_1m AS
SELECT time, domain, device, metric, sum(n) AS count, min(lo) AS min, max(hi) AS max,
       sum(total) / sum(n) AS avg, tupleElement(max(latest), 2) AS last
FROM observations_1m_state
GROUP BY time, domain, device, metric;

CREATE VIEW IF NOT EXISTS observations_1h AS
SELECT time, domain, device, metric, sum(n) AS count, min(lo) AS min, max(hi) AS max,
       sum(total) / sum(n) AS avg, tupleElement(max(latest), 2) AS last
FROM observations_1h_state
GROUP BY time, domain, device, metric;
