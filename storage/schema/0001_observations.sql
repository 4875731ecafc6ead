-- What devices measured: one row a value. The rows of one message are neighbours in this order, so
-- that what they share (times, device, domain) costs next to nothing; the quarter of an hour in
-- front makes "one metric, now" a read of the newest one or two, and the device behind it makes
-- "one device, a time range" a few granules each. docs/decisions/storage-schema.md has the figures.
CREATE TABLE IF NOT EXISTS observations
(
    time     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    received DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    domain   LowCardinality(String) CODEC(ZSTD(1)),
    device   LowCardinality(String) CODEC(ZSTD(1)),
    metric   LowCardinality(String) CODEC(ZSTD(1)),
    value    Float64 CODEC(ZSTD(1)),
    text     String CODEC(ZSTD(1)),
    quality  UInt8 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMMDD(time)
ORDER BY (toStartOfFifteenMinutes(time), device, time, metric)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, old_parts_lifetime = 120, merge_selector_base = 12;

-- The hour's rollup is kept as states that merge, fed by every insert. Text metrics have no number
-- and are not in it. Grouping by hashes of the names, not the names, halves what it costs.
CREATE TABLE IF NOT EXISTS observations_1h_state
(
    time   DateTime('UTC') CODEC(Delta, ZSTD(1)),
    domain LowCardinality(String) CODEC(ZSTD(1)),
    device LowCardinality(String) CODEC(ZSTD(1)),
    metric LowCardinality(String) CODEC(ZSTD(1)),
    n      SimpleAggregateFunction(sum, UInt64) CODEC(T64, ZSTD(1)),
    lo     SimpleAggregateFunction(min, Float64) CODEC(ZSTD(1)),
    hi     SimpleAggregateFunction(max, Float64) CODEC(ZSTD(1)),
    total  SimpleAggregateFunction(sum, Float64) CODEC(ZSTD(1)),
    seen   SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    latest AggregateFunction(argMax, Float64, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (device, metric, time, domain)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, old_parts_lifetime = 120;

CREATE MATERIALIZED VIEW IF NOT EXISTS observations_1h_feed TO observations_1h_state AS
SELECT toStartOfHour(o.time) AS time, any(o.domain) AS domain, any(o.device) AS device, any(o.metric) AS metric,
       count() AS n, min(o.value) AS lo, max(o.value) AS hi, sum(o.value) AS total, max(o.time) AS seen, argMaxState(o.value, o.time) AS latest
FROM observations AS o
WHERE NOT isNaN(o.value)
GROUP BY time, cityHash64(o.device), cityHash64(o.metric), cityHash64(o.domain);

CREATE VIEW IF NOT EXISTS observations_1h AS
SELECT time, domain, device, metric, toUInt64(sum(n)) AS count, toFloat64(min(lo)) AS min, toFloat64(max(hi)) AS max,
       sum(total) / sum(n) AS avg, argMaxMerge(latest) AS last
FROM observations_1h_state
GROUP BY time, domain, device, metric;

-- The last text of each text metric in an hour, so that what a lamp's status is can be had without
-- reading what it said all day.
CREATE TABLE IF NOT EXISTS observations_text_state
(
    time   DateTime('UTC') CODEC(Delta, ZSTD(1)),
    domain LowCardinality(String) CODEC(ZSTD(1)),
    device LowCardinality(String) CODEC(ZSTD(1)),
    metric LowCardinality(String) CODEC(ZSTD(1)),
    seen   SimpleAggregateFunction(max, DateTime64(3, 'UTC')) CODEC(ZSTD(1)),
    latest AggregateFunction(argMax, String, DateTime64(3, 'UTC')) CODEC(ZSTD(1))
)
ENGINE = AggregatingMergeTree
PARTITION BY toYYYYMM(time)
ORDER BY (device, metric, time, domain)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, old_parts_lifetime = 120;

CREATE MATERIALIZED VIEW IF NOT EXISTS observations_text_feed TO observations_text_state AS
SELECT toStartOfHour(o.time) AS time, any(o.domain) AS domain, any(o.device) AS device, any(o.metric) AS metric,
       max(o.time) AS seen, argMaxState(o.text, o.time) AS latest
FROM observations AS o
WHERE isNaN(o.value)
GROUP BY time, cityHash64(o.device), cityHash64(o.metric), cityHash64(o.domain);

-- The minute's rollup is worked out when asked for: most of a city reports once a minute, so a kept
-- one would be as large as what it sums up and make every insert cost five times as much.
CREATE VIEW IF NOT EXISTS observations_1m AS
SELECT toStartOfMinute(o.time) AS time, domain, device, metric, count() AS count, min(o.value) AS min, max(o.value) AS max,
       avg(o.value) AS avg, argMax(o.value, o.time) AS last
FROM observations AS o
WHERE NOT isNaN(o.value)
GROUP BY time, domain, device, metric;
