import { pointSize, zoomOf, type View } from './backend';
import type { DomainMask, Points } from './points';

/** Every normal asset as a dot of one colour in a picture of a view, written pixel by pixel: 50,000 calls to a canvas take far longer. */
export class Dots {
  readonly image = new OffscreenCanvas(1, 1);
  readonly #ctx = this.image.getContext('2d', { willReadFrequently: true })!;
  #pixels = this.#ctx.createImageData(1, 1);

  draw(points: Points, v: View, mask: DomainMask, colour: string): void {
    const ratio = devicePixelRatio;
    const width = Math.max(1, Math.round(v.width * ratio));
    const height = Math.max(1, Math.round(v.height * ratio));
    if (this.image.width !== width || this.image.height !== height) {
      this.image.width = width;
      this.image.height = height;
      this.#pixels = this.#ctx.createImageData(width, height);
    }
    const rgb = parseInt(colour.slice(1), 16);
    // ABGR: the bytes of a pixel are little-endian on every machine that has a browser.
    const abgr = (0xff000000 | ((rgb & 0xff) << 16) | (rgb & 0xff00) | (rgb >> 16)) >>> 0;
    const out = new Uint32Array(this.#pixels.data.buffer);
    out.fill(0);
    const offsets = disc(pointSize(zoomOf(v.scale)) * ratio);
    const scale = v.scale * ratio;
    for (let i = 0; i < points.length; i++) {
      if (points.severity[i] > 0 || !mask.has(points.domain[i])) continue;
      const px = Math.round((points.x[i] - v.x) * scale + width / 2);
      const py = Math.round((points.y[i] - v.y) * scale + height / 2);
      if (!(px > -16 && py > -16 && px < width + 16 && py < height + 16)) continue; // beside it, or nowhere
      for (let k = 0; k < offsets.length; k += 2) {
        const x = px + offsets[k];
        const y = py + offsets[k + 1];
        if (x >= 0 && y >= 0 && x < width && y < height) out[y * width + x] = abgr;
      }
    }
    this.#ctx.putImageData(this.#pixels, 0, 0);
  }
}

/** The pixels of a disc, x and y from its middle in turn. */
function disc(size: number): Int8Array {
  const r = size / 2;
  const reach = Math.ceil(r);
  const at: number[] = [];
  for (let y = -reach; y < reach; y++) {
    for (let x = -reach; x < reach; x++) if ((x + 0.5) ** 2 + (y + 0.5) ** 2 <= r * r + 0.25) at.push(x, y);
  }
  return Int8Array.from(at);
}
