// Writes the .br and .gz next to every built file worth it, so that the server only has to pick, and
// fails where the whole page passes its budget.
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';

const budget = 600_000; // bytes of gzip, all files together
const dist = join(dirname(fileURLToPath(import.meta.url)), '..', 'dist');

let total = 0;
for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile() || entry.name === '.gitkeep' || /\.(br|gz)$/.test(entry.name)) continue;
  const path = join(entry.parentPath, entry.name);
  const bytes = readFileSync(path);
  const gz = gzipSync(bytes, { level: 9 });
  const already = /\.(woff2|png|jpg|webp)$/.test(entry.name);
  for (const suffix of ['.br', '.gz']) rmSync(path + suffix, { force: true });
  if (already || bytes.length < 1024) {
    total += bytes.length;
    continue;
  }
  const br = brotliCompressSync(bytes, {
    params: { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length },
  });
  writeFileSync(path + '.gz', gz);
  writeFileSync(path + '.br', br);
  total += gz.length;
  console.log(`${relative(dist, path).padEnd(44)} ${statSync(path).size} B, gzip ${gz.length}, brotli ${br.length}`);
}
console.log(`page: ${total} bytes gzip of ${budget}`);
if (total > budget) {
  console.error(`the built page is ${total} bytes gzip, want at most ${budget}`);
  process.exit(1);
}
