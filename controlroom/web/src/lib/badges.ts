// A badge tells how many of each severity there are: the sign, and the number beside it, two to a line.
import { drawMark, type Rank } from './marks';

export interface BadgeTheme {
  halo: string;
  edge: string;
  text: string;
}

const sign = 15; // CSS px
const line = 19;
const pad = 5;
const figureWidth = 8.8; // of a bold digit at 13 px, in the widest of the usual typefaces
const most = 999;

interface Cell {
  rank: Rank;
  text: string;
  width: number;
}

/** The gravest first; what there is none of is left out. */
function cells(ranks: readonly number[]): Cell[][] {
  const all: Cell[] = [];
  for (const rank of [4, 3, 2, 1] as const) {
    if (!ranks[rank]) continue;
    const text = ranks[rank] > most ? `${most}+` : String(ranks[rank]);
    all.push({ rank, text, width: sign + 4 + text.length * figureWidth });
  }
  return all.length <= 2 ? [all] : [all.slice(0, 2), all.slice(2)];
}

/** The same for badges that look the same. */
export const badgeKey = (ranks: readonly number[]): string => ranks.slice(1).join('.');

const gap = 6;

export function badgeSize(ranks: readonly number[]): { width: number; height: number } {
  const lines = cells(ranks);
  const width = Math.max(...lines.map((l) => l.reduce((sum, c) => sum + c.width, 0) + gap * Math.max(0, l.length - 1)));
  return { width: Math.ceil(width + 2 * pad), height: lines.length * line + 4 };
}

/** Draws the badge with its top left corner at (x, y). */
export function drawBadge(ctx: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D, ranks: readonly number[], x: number, y: number, theme: BadgeTheme): void {
  const { width, height } = badgeSize(ranks);
  ctx.save();
  ctx.beginPath();
  ctx.roundRect(x + 0.5, y + 0.5, width - 1, height - 1, 5);
  ctx.fillStyle = theme.halo;
  ctx.fill();
  ctx.strokeStyle = theme.edge;
  ctx.lineWidth = 1;
  ctx.stroke();
  ctx.font = '600 13px system-ui, sans-serif';
  ctx.textAlign = 'left';
  ctx.textBaseline = 'middle';
  cells(ranks).forEach((l, i) => {
    const middle = y + 2 + line * (i + 0.5);
    let left = x + pad;
    for (const c of l) {
      drawMark(ctx, c.rank, left + sign / 2, middle, sign, theme.halo);
      ctx.fillStyle = theme.text;
      ctx.fillText(c.text, left + sign + 4, middle + 0.5);
      left += c.width + gap;
    }
  });
  ctx.restore();
}
