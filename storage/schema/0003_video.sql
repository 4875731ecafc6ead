-- Video metadata is personal data: each row says when it must be gone. The tables that end in _log
-- hold the rows, in partitions by that time so that whole ones are dropped; what other programs
-- read are the views, which never show a row past its time. Nothing wrote `detections` before.
-- The log holds a centre only where it is not the middle of the box: else it would be a quarter of it.
DROP TABLE IF EXISTS detections;

CREATE TABLE IF NOT EXISTS detections_log
(
    time         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    received     DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    camera       LowCardinality(String) CODEC(ZSTD(1)),
    what         LowCardinality(String) CODEC(ZSTD(1)),
    track        String CODEC(ZSTD(1)),
    other        String CODEC(ZSTD(1)),
    class        LowCardinality(String) CODEC(ZSTD(1)),
    vendor_class LowCardinality(String) CODEC(ZSTD(1)),
    score        Float32 CODEC(ZSTD(1)),
    zone         LowCardinality(String) CODEC(ZSTD(1)),
    rule         LowCardinality(String) CODEC(ZSTD(1)),
    direction    LowCardinality(String) CODEC(ZSTD(1)),
    speed_mps    Float32 CODEC(ZSTD(1)),
    heading_deg  Float32 CODEC(ZSTD(1)),
    box_left     Float32 CODEC(ZSTD(1)),
    box_top      Float32 CODEC(ZSTD(1)),
    box_right    Float32 CODEC(ZSTD(1)),
    box_bottom   Float32 CODEC(ZSTD(1)),
    center_x     Float32 CODEC(ZSTD(1)),
    center_y     Float32 CODEC(ZSTD(1)),
    lat          Float64 CODEC(ZSTD(1)),
    lon          Float64 CODEC(ZSTD(1)),
    value        Float64 CODEC(ZSTD(1)),
    plate_hash   String CODEC(ZSTD(1)),
    attributes   String CODEC(ZSTD(1)),
    purpose      LowCardinality(String) CODEC(ZSTD(1)),
    expires      DateTime('UTC') CODEC(Delta, ZSTD(1)),
    quality      UInt8 CODEC(ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toStartOfHour(expires)
ORDER BY (toStartOfFifteenMinutes(time), camera, time)
TTL expires
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, old_parts_lifetime = 120, merge_selector_base = 12;

CREATE VIEW IF NOT EXISTS detections AS
SELECT time, received, camera, what, track, other, class, vendor_class, score, zone, rule, direction, speed_mps, heading_deg,
       box_left, box_top, box_right, box_bottom,
       if(isNaN(d.center_x), toFloat32((box_left + box_right) / 2), d.center_x) AS center_x,
       if(isNaN(d.center_y), toFloat32((box_top + box_bottom) / 2), d.center_y) AS center_y,
       lat, lon, value, plate_hash, attributes, purpose, expires, quality
FROM detections_log AS d
WHERE expires > now();

-- Encrypted plates of the purposes that may keep them, beside the hash under which the detection
-- has them.
CREATE TABLE IF NOT EXISTS plates_log
(
    time       DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    camera     LowCardinality(String) CODEC(ZSTD(1)),
    purpose    LowCardinality(String) CODEC(ZSTD(1)),
    plate_hash String CODEC(ZSTD(1)),
    sealed     String CODEC(NONE),
    expires    DateTime('UTC') CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toStartOfHour(expires)
ORDER BY (plate_hash, time)
TTL expires
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, old_parts_lifetime = 120;

CREATE VIEW IF NOT EXISTS plates AS
SELECT time, camera, purpose, plate_hash, sealed, expires
FROM plates_log
WHERE expires > now();

-- A track comes again, under the same id, when detections are read again: the view shows the one
-- received last.
CREATE TABLE IF NOT EXISTS tracks_log
(
    id            String CODEC(ZSTD(1)),
    camera        LowCardinality(String) CODEC(ZSTD(1)),
    track         String CODEC(ZSTD(1)),
    start         DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    end           DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    received      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    class         LowCardinality(String) CODEC(ZSTD(1)),
    vendor_class  LowCardinality(String) CODEC(ZSTD(1)),
    score         Float64 CODEC(ZSTD(1)),
    detections    Int64 CODEC(T64, ZSTD(1)),
    zones         String CODEC(ZSTD(1)),
    speed_mps     Float64 CODEC(ZSTD(1)),
    speed_max_mps Float64 CODEC(ZSTD(1)),
    distance_m    Float64 CODEC(ZSTD(1)),
    heading_deg   Float64 CODEC(ZSTD(1)),
    start_x       Float64 CODEC(ZSTD(1)),
    start_y       Float64 CODEC(ZSTD(1)),
    end_x         Float64 CODEC(ZSTD(1)),
    end_y         Float64 CODEC(ZSTD(1)),
    start_lat     Float64 CODEC(ZSTD(1)),
    start_lon     Float64 CODEC(ZSTD(1)),
    end_lat       Float64 CODEC(ZSTD(1)),
    end_lon       Float64 CODEC(ZSTD(1)),
    parent        String CODEC(ZSTD(1)),
    purpose       LowCardinality(String) CODEC(ZSTD(1)),
    attributes    String CODEC(ZSTD(1)),
    plate_hash    String CODEC(ZSTD(1)),
    expires       DateTime('UTC') CODEC(Delta, ZSTD(1)),
    quality       UInt8 CODEC(ZSTD(1))
)
ENGINE = ReplacingMergeTree(received)
PARTITION BY toDate(expires)
ORDER BY (toDate(start), camera, id)
TTL expires
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, old_parts_lifetime = 120;

CREATE VIEW IF NOT EXISTS tracks AS
SELECT id, camera, track, start, end, received, class, vendor_class, score, detections, zones, speed_mps, speed_max_mps, distance_m, heading_deg,
       start_x, start_y, end_x, end_y, start_lat, start_lon, end_lat, end_lon, parent, purpose, attributes, plate_hash, expires, quality
FROM tracks_log FINAL
WHERE expires > now();

-- A minute is counted again as long as detections of it come: the greatest version is right, and
-- the view shows that one.
CREATE TABLE IF NOT EXISTS vds_counts_1m_log
(
    time          DateTime('UTC') CODEC(Delta, ZSTD(1)),
    received      DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    camera        LowCardinality(String) CODEC(ZSTD(1)),
    zone          LowCardinality(String) CODEC(ZSTD(1)),
    class         LowCardinality(String) CODEC(ZSTD(1)),
    count_in      Int64 CODEC(T64, ZSTD(1)),
    count_out     Int64 CODEC(T64, ZSTD(1)),
    seen          Int64 CODEC(T64, ZSTD(1)),
    occupancy_avg Float64 CODEC(ZSTD(1)),
    occupancy_max Int64 CODEC(T64, ZSTD(1)),
    dwell_s       Float64 CODEC(ZSTD(1)),
    visits        Int64 CODEC(T64, ZSTD(1)),
    speed_sum_mps Float64 CODEC(ZSTD(1)),
    speed_n       Int64 CODEC(T64, ZSTD(1)),
    queue_max     Int64 CODEC(T64, ZSTD(1)),
    purpose       LowCardinality(String) CODEC(ZSTD(1)),
    version       UInt64 CODEC(Delta, ZSTD(1))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMMDD(time)
ORDER BY (camera, zone, class, time)
SETTINGS non_replicated_deduplication_window = 10000, ttl_only_drop_parts = 1, old_parts_lifetime = 120;

CREATE VIEW IF NOT EXISTS vds_counts_1m AS
SELECT time, received, camera, zone, class, count_in, count_out, seen, occupancy_avg, occupancy_max, dwell_s, visits,
       speed_sum_mps, speed_n, queue_max, purpose, version
FROM vds_counts_1m_log FINAL;
