// How the process of the made-up city does.

/** GET /api/v1/system */
export const about = (now) => ({
  version: '1.0.0',
  started: stamp(now - 9 * 86_400_000),
  processes: [
    { id: 'sala-1-4be1f0aa', host: 'sala-1', version: '1.0.0', roles: ['ingest', 'writer', 'rules', 'controlroom'], started: stamp(now - 9 * 86_400_000), heard: stamp(now - 4_000), quiet: false, share: '1/2', partitions: [0, 2, 4, 6], holds: true, lag: { writer: 0, rules: 1 } },
    { id: 'sala-2-07c2d511', host: 'sala-2', version: '1.0.0', roles: ['rules'], started: stamp(now - 2 * 86_400_000), heard: stamp(now - 7_000), quiet: false, share: '1/2', partitions: [0, 2, 4, 6], holds: false, lag: { rules: 3 } },
    { id: 'sala-3-91ab33de', host: 'sala-3', version: '1.0.0', roles: ['ingest', 'writer'], started: stamp(now - 3 * 86_400_000), heard: stamp(now - 5 * 3_600_000), quiet: true, holds: false, lag: { writer: -1 } },
  ],
  tables: [
    { name: 'alarm_log_rows', rows: 2_310, bytes: 91_200 },
    { name: 'events_log', rows: 48_211, bytes: 3_120_400 },
    { name: 'observations', rows: 91_204_117, bytes: 402_310_880 },
    { name: 'rejected', rows: 731, bytes: 88_100 },
  ],
  dead_letters: [
    { reason: 'no_purpose', count: 412, last: stamp(now - 41_000), source: 'broker', topic: 'vds/cam-0003/onvif-xml', detail: 'the registry has no purpose for the camera' },
    { reason: 'syntax', count: 9, last: stamp(now - 3_700_000), source: 'broker', topic: 'city/waste/bin-0007/telemetry', detail: "offset 126: found the end, want ',' or '}'" },
  ],
});

/** GET /metrics: what the page reads of it, and a kind that it has no name for */
export const metrics = (now) =>
  [
    'panormus_controlroom_feed_clients 12',
    ...['observations', 'detections', 'uplinks', 'events', 'alarm_log', 'novelties'].flatMap((kind, i) => [
      `panormus_storage_lag_batches{kind="${kind}"} ${(i * 7) % 4}`,
      `panormus_stream_stored_bytes{kind="${kind}"} ${9_991_103 * (6 - i)}`,
    ]),
    `panormus_tls_certificate_end_timestamp_seconds{listener="http"} ${Math.round(now / 1000) + 61 * 86_400}`,
    '',
  ].join('\n');

const stamp = (ms) => new Date(ms).toISOString();
