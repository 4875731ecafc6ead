// What the page costs the browser, against a running server that somebody keeps busy: `node e2e/pagebench.mjs`, with
// PANORMUS_URL, PANORMUS_ASSETS (how many the page must have counted), PANORMUS_SECONDS of looking, PANORMUS_LOADS.
// Prints one line of JSON; times are in ms.
//   first         first paint; first useful view: all assets counted and drawn, by whatever draws the map by then; and from
//                 when WebGL does; from the start of the navigation, each load in a context of its own, whose cache is empty
//   frames        the main thread's work from one frame's start to the next one's, as long as the city changes: its tasks'
//                 time on the clock, and on the processor, which is what it is where others share the machine
import { launch, visit } from './harness.mjs';

const assets = Number(process.env.PANORMUS_ASSETS ?? 1);
const seconds = Number(process.env.PANORMUS_SECONDS ?? 20);
const loads = Number(process.env.PANORMUS_LOADS ?? 5);

/** Runs before the page: notes when the first useful view is there, and counts the patches that were drawn. */
function notice(assets) {
  globalThis.bench = { useful: 0, webgl: 0, drawn: 0 };
  const look = () => {
    const total = Number(document.querySelector('[data-testid=count-all]')?.dataset.total ?? 0);
    const map = document.querySelector('[data-testid=map]');
    if (total >= assets && Number(map?.dataset.drawn) >= assets) requestAnimationFrame(() => (globalThis.bench.useful ||= performance.now()));
    if (map?.dataset.ready === 'true' && map.dataset.renderer === 'webgl') globalThis.bench.webgl = performance.now();
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
  const tell = Worker.prototype.postMessage;
  Worker.prototype.postMessage = function (message, ...rest) {
    if (message?.op === 'drawn') globalThis.bench.drawn++;
    return tell.call(this, message, ...rest);
  };
}

const at = (sorted, share) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
const round = (v) => Math.round(v * 10) / 10;
function spread(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return { p50: round(at(sorted, 0.5)), p95: round(at(sorted, 0.95)), most: round(sorted.at(-1) ?? 0) };
}

async function open(browser) {
  const v = await visit(browser, { name: 'bench' });
  await v.page.addInitScript(notice, assets);
  await v.go('/', { waitUntil: 'commit' });
  await v.page.waitForFunction(() => globalThis.bench.useful > 0 && globalThis.bench.webgl > 0, null, { timeout: 120_000 });
  return v;
}

/**
 * The work of each frame in a trace. A frame begins with the task that runs its callbacks, paints or commits it, and ends
 * where the next one begins: what came between, such as a message of the worker, is of it.
 */
function framesOf(events) {
  const marks = new Set(['FireAnimationFrame', 'Paint', 'Commit']);
  const threads = events.filter((e) => e.name === 'thread_name' && e.args.name === 'CrRendererMain');
  const of = (t) => events.filter((e) => e.pid === t.pid && e.tid === t.tid);
  const mine = threads.map(of).sort((a, b) => b.length - a.length)[0] ?? [];
  const tasks = mine.filter((e) => e.name === 'RunTask' && e.ph === 'X').sort((a, b) => a.ts - b.ts);
  const drawn = mine.filter((e) => marks.has(e.name)).map((e) => e.ts).sort((a, b) => a - b);
  const frames = [];
  let i = 0;
  for (const t of tasks) {
    while (i < drawn.length && drawn[i] < t.ts) i++;
    if (i < drawn.length && drawn[i] <= t.ts + t.dur) frames.push({ at: t.ts, wall: 0, cpu: 0 });
    const frame = frames.at(-1);
    if (!frame) continue;
    frame.wall += t.dur / 1000;
    frame.cpu += (t.tdur ?? t.dur) / 1000;
  }
  frames.pop(); // the last one has no end
  if (frames.length < 10) throw new Error(`${frames.length} frames among ${tasks.length} tasks and ${drawn.length} marks of ${events.length} events: too few to tell anything`);
  const span = (frames.at(-1).at - frames[0].at) / 1000;
  return { n: frames.length, per_s: round((1000 * frames.length) / span), wall: spread(frames.map((f) => f.wall)), cpu: spread(frames.map((f) => f.cpu)), busy: round((100 * frames.reduce((s, f) => s + f.cpu, 0)) / span) };
}

const browser = await launch();
try {
  const paints = [];
  const useful = [];
  const webgl = [];
  for (let i = 0; i < loads; i++) {
    const v = await open(browser);
    const bench = await v.page.evaluate(() => globalThis.bench);
    useful.push(bench.useful);
    webgl.push(bench.webgl);
    paints.push(await v.page.evaluate(() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0));
    await v.close();
  }
  const v = await open(browser);
  await v.page.waitForTimeout(3000); // the snapshot is over
  const before = await v.page.evaluate(() => globalThis.bench.drawn);
  await browser.startTracing(v.page, { categories: ['-*', 'devtools.timeline', 'disabled-by-default-devtools.timeline', '__metadata'] });
  await v.page.waitForTimeout(1000 * seconds);
  const trace = JSON.parse((await browser.stopTracing()).toString());
  const drawn = (await v.page.evaluate(() => globalThis.bench.drawn)) - before;
  const heap = await v.page.evaluate(() => performance.memory?.usedJSHeapSize ?? 0);
  console.log(JSON.stringify({ first: { paint: spread(paints), useful: spread(useful), webgl: spread(webgl) }, frames: framesOf(trace.traceEvents), patches_per_s: round(drawn / seconds), heap_mb: round(heap / 2 ** 20) }));
  await v.close();
} finally {
  await browser.close();
}
