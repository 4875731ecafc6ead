// The signs of the severities: shape and glyph tell them apart without colour. Paths in a 20 x 20 box;
// the list, the legend, the map's images and the canvas draw from here.
export interface Mark {
  /** outline, filled with the severity's colour */
  shape: string;
  /** what stands in it, stroked in the dark ink */
  glyph: string;
  /** size on the map, CSS px */
  size: number;
}

/** By rank: 1 info, 2 warning, 3 major, 4 critical. */
export const marks: Record<1 | 2 | 3 | 4, Mark> = {
  1: { shape: 'M10 2.5a7.5 7.5 0 1 0 0 15a7.5 7.5 0 1 0 0 -15z', glyph: 'M10 9.2V14M10 6v.6', size: 15 },
  2: { shape: 'M10 1.8L18.6 17.2H1.4z', glyph: 'M10 7.4V12M10 14.2v.6', size: 18 },
  3: { shape: 'M10 1L19 10L10 19L1 10z', glyph: 'M10 5.6V11M10 13.6v.8', size: 20 },
  4: { shape: 'M6.3 1.2h7.4l5.1 5.1v7.4l-5.1 5.1H6.3l-5.1-5.1V6.3z', glyph: 'M6.6 6.6l6.8 6.8M13.4 6.6l-6.8 6.8', size: 22 },
};

export const ranks = [1, 2, 3, 4] as const;
export type Rank = (typeof ranks)[number];

/** The mark's colours, the same in both themes: each fill is told from both grounds by its dark edge. */
export const markColours: Record<Rank, { fill: string; ink: string; edge: string }> = {
  1: { fill: '#94c4f5', ink: '#17324d', edge: '#17324d' },
  2: { fill: '#f2cf4a', ink: '#1a1a1a', edge: '#1a1a1a' },
  3: { fill: '#f08a24', ink: '#1a1a1a', edge: '#1a1a1a' },
  4: { fill: '#cc334d', ink: '#ffffff', edge: '#1a1a1a' },
};

/** Draws a mark centred at (x, y), `size` px wide, with a halo so that it stands out on any ground. */
export function drawMark(ctx: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D, rank: Rank, x: number, y: number, size: number, halo: string): void {
  const { shape, glyph } = marks[rank];
  const { fill, ink, edge } = markColours[rank];
  const outline = new Path2D(shape);
  ctx.save();
  ctx.translate(x - size / 2, y - size / 2);
  ctx.scale(size / 20, size / 20);
  ctx.lineJoin = 'round';
  ctx.lineCap = 'round';
  ctx.strokeStyle = halo;
  ctx.lineWidth = 5;
  ctx.stroke(outline);
  ctx.fillStyle = fill;
  ctx.fill(outline);
  ctx.strokeStyle = edge;
  ctx.lineWidth = 1.4;
  ctx.stroke(outline);
  ctx.strokeStyle = ink;
  ctx.lineWidth = 2.4;
  ctx.stroke(new Path2D(glyph));
  ctx.restore();
}
