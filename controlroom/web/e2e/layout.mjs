// What can be seen to be wrong with a layout without knowing how it should look, and how much two pictures differ.

/** Runs in the page: controls that are covered, cut off or outside of the window, and words that are cut. */
export function faults() {
  const found = [];
  const name = (el) => {
    const words = (el.getAttribute('aria-label') || el.textContent || el.getAttribute('placeholder') || '').trim().replace(/\s+/g, ' ').slice(0, 40);
    return `<${el.localName}${el.dataset.testid ? ` ${el.dataset.testid}` : ''}> "${words}"`;
  };
  const shown = (el) => el.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true, contentVisibilityAuto: true }) && !el.closest('.hidden, .skip, [aria-hidden=true]');
  const scrolls = (el, axis) => /auto|scroll/.test(getComputedStyle(el)[`overflow${axis}`]);
  const clips = (el, axis) => /hidden|clip/.test(getComputedStyle(el)[`overflow${axis}`]);

  const pageScrolls = document.scrollingElement.scrollHeight > innerHeight + 1 && /auto|scroll/.test(getComputedStyle(document.body).overflowY);

  /** What is left of el's box in the window and in all that scrolls; the fault, where it is cut where nothing scrolls. */
  function visible(el) {
    const r = el.getBoundingClientRect();
    const box = { left: r.left, top: r.top, right: r.right, bottom: r.bottom };
    const free = { X: false, Y: pageScrolls }; // something scrolls it into sight
    let fault = '';
    for (let up = el.parentElement; up && up !== document.body; up = up.parentElement) {
      const c = up.getBoundingClientRect();
      for (const [axis, low, high] of [['X', 'left', 'right'], ['Y', 'top', 'bottom']]) {
        if (scrolls(up, axis)) free[axis] = true;
        else if (!clips(up, axis)) continue;
        if (!free[axis] && (box[low] < c[low] - 2 || box[high] > c[high] + 2)) fault ||= `cut off by ${name(up).slice(0, 60)}`;
        box[low] = Math.max(box[low], c[low]);
        box[high] = Math.min(box[high], c[high]);
      }
    }
    if (!free.X && (box.left < -2 || box.right > innerWidth + 2)) fault ||= 'beyond the side of the window';
    if (!free.Y && (box.top < -2 || box.bottom > innerHeight + 2)) fault ||= 'beyond the end of the window';
    return { box, fault, scrolled: free.Y };
  }
  /** What stays in sight while the rest is scrolled below it. */
  const stays = (el, below) => {
    for (let up = el; up && !up.contains(below); up = up.parentElement) if (/sticky|absolute|fixed/.test(getComputedStyle(up).position)) return true;
    return false;
  };

  for (const el of document.querySelectorAll('a[href], button, input, select, textarea, summary, h1, h2, h3, [role=row], [data-testid=map]')) {
    if (!shown(el)) continue;
    const { box, fault, scrolled } = visible(el);
    if (fault) found.push(`${name(el)} is ${fault}`);
    const [left, right, top, bottom] = [Math.max(0, box.left), Math.min(innerWidth, box.right), Math.max(0, box.top), Math.min(innerHeight, box.bottom)];
    if (right - left < 4 || bottom - top < 4 || el.matches('h1, h2, h3, [role=row], [data-testid=map]')) continue;
    const on = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
    if (on?.closest('[data-covers=true]')) continue; // a sheet that was opened is over what it is over
    if (on && on !== el && !el.contains(on) && !on.contains(el) && !(scrolled && stays(on, el))) found.push(`${name(el)} is covered by ${name(on)}`);
  }
  for (const el of document.querySelectorAll('h1, h2, h3, button, th, td, dt, dd, p, label, span, a, b')) {
    if (!shown(el) || el.scrollWidth <= el.clientWidth + 1 || el.clientWidth <= 1) continue; // one pixel: for those who listen
    const style = getComputedStyle(el);
    if (style.overflowX !== 'hidden' && style.overflowX !== 'clip') continue;
    if (style.textOverflow !== 'ellipsis' || el.matches('h1, h2, h3, button')) found.push(`the words of ${name(el)} are cut`);
  }
  return [...new Set(found)];
}

/** One pixel of a thumbnail is so many of the page's. */
export const grain = (width) => (width < 768 ? 4 : 8);

/**
 * Runs in any page: a picture as a thumbnail, each pixel the mean of what it covers, in 32 steps a channel. That is what
 * stays of a view when another machine draws its letters a little differently.
 */
export async function thumbnail([png, grain]) {
  const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const [width, height] = [Math.floor(image.width / grain), Math.floor(image.height / grain)];
  const canvas = new OffscreenCanvas(image.width, image.height);
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const all = context.getImageData(0, 0, image.width, image.height).data;
  const small = new OffscreenCanvas(width, height);
  const out = small.getContext('2d').createImageData(width, height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const sum = [0, 0, 0];
      for (let j = 0; j < grain; j++) {
        for (let i = 0, at = ((y * grain + j) * image.width + x * grain) * 4; i < grain; i++, at += 4) for (let c = 0; c < 3; c++) sum[c] += all[at + c];
      }
      const to = (y * width + x) * 4;
      for (let c = 0; c < 3; c++) out.data[to + c] = Math.min(255, 8 * Math.round(sum[c] / grain / grain / 8));
      out.data[to + 3] = 255;
    }
  }
  small.getContext('2d').putImageData(out, 0, 0);
  const bytes = new Uint8Array(await (await small.convertToBlob({ type: 'image/png' })).arrayBuffer());
  return btoa(bytes.reduce((s, b) => s + String.fromCharCode(b), ''));
}

/**
 * Runs in any page: which part of two thumbnails differs, 0 to 1. A pixel differs when none at its place or beside it is
 * like it: what moved by less than a pixel of the thumbnail has not moved.
 */
export async function difference([before, after]) {
  const read = async (png) => {
    const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
    const context = new OffscreenCanvas(image.width, image.height).getContext('2d');
    context.drawImage(image, 0, 0);
    return context.getImageData(0, 0, image.width, image.height);
  };
  const [a, b] = [await read(before), await read(after)];
  if (a.width !== b.width || a.height !== b.height) return 1;
  const like = (i, j) => [0, 1, 2].every((c) => Math.abs(a.data[4 * i + c] - b.data[4 * j + c]) <= 28);
  let differ = 0;
  for (let y = 0; y < a.height; y++) {
    next: for (let x = 0; x < a.width; x++) {
      for (let dy = -1; dy <= 1; dy++) {
        for (let dx = -1; dx <= 1; dx++) {
          if (x + dx >= 0 && x + dx < a.width && y + dy >= 0 && y + dy < a.height && like(y * a.width + x, (y + dy) * a.width + x + dx)) continue next;
        }
      }
      differ++;
    }
  }
  return differ / (a.width * a.height);
}
