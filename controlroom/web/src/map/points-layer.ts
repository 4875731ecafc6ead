import type { CustomLayerInterface, Map as MapLibreMap } from 'maplibre-gl';
import { pointSize, zoomOf, type View } from './backend';
import { DomainMask, type Points, type Touched } from './points';

// Positions go to the GPU as 32-bit floats relative to this origin, which is moved to where the points
// are: absolute mercator coordinates in 32 bits would be metres off.
const vertexSource = `#version 300 es
layout(location = 0) in vec2 a_pos;
layout(location = 1) in uvec2 a_kind; // severity, domain
uniform vec2 u_offset;
uniform vec2 u_scale;
uniform float u_size;
uniform uint u_mask[8];
void main() {
  bool shown = (u_mask[a_kind.y >> 5u] & (1u << (a_kind.y & 31u))) != 0u;
  if (!shown || a_kind.x != 0u || !(a_pos.x == a_pos.x)) {
    gl_Position = vec4(2.0, 2.0, 2.0, 1.0);
    gl_PointSize = 0.0;
    return;
  }
  gl_Position = vec4(a_pos * u_scale + u_offset, 0.0, 1.0);
  gl_PointSize = u_size;
}`;

const fragmentSource = `#version 300 es
precision highp float;
uniform vec4 u_colour;
uniform float u_size;
out vec4 colour;
void main() {
  float r = length(gl_PointCoord - 0.5) * u_size;
  float a = clamp(u_size * 0.5 - r, 0.0, 1.0) * u_colour.a;
  colour = vec4(u_colour.rgb * a, a);
}`;

const far = 1e9; // off every screen: for slots without a position (NaN in a buffer is not portable)

/** Every normal asset as one grey dot, in one draw call from two buffers that are written in place. */
export class PointsLayer implements CustomLayerInterface {
  readonly id = 'live-points';
  readonly type = 'custom' as const;
  readonly renderingMode = '2d' as const;

  #program: WebGLProgram | null = null;
  #vao: WebGLVertexArrayObject | null = null;
  #positions: WebGLBuffer | null = null;
  #kinds: WebGLBuffer | null = null;
  #uniform: Record<string, WebGLUniformLocation | null> = {};
  #capacity = 0;
  #origin: [number, number] | null = null;
  #dirty: Touched | null = null;
  #mask = DomainMask.all();
  #colour: [number, number, number, number] = [0.5, 0.5, 0.5, 1];

  constructor(
    private readonly points: Points,
    private readonly view: () => View,
    private readonly onDrawn: () => void,
  ) {}

  changed(touched: Touched | null): void {
    if (!touched) return;
    this.#dirty = this.#dirty
      ? { from: Math.min(this.#dirty.from, touched.from), to: Math.max(this.#dirty.to, touched.to) }
      : { ...touched };
  }

  setMask(mask: DomainMask): void {
    this.#mask = mask;
  }

  setColour(hex: string, alpha: number): void {
    const n = parseInt(hex.slice(1), 16);
    this.#colour = [(n >> 16) / 255, ((n >> 8) & 255) / 255, (n & 255) / 255, alpha];
  }

  onAdd(_map: MapLibreMap, gl: WebGL2RenderingContext): void {
    this.#program = link(gl, vertexSource, fragmentSource);
    for (const name of ['u_offset', 'u_scale', 'u_size', 'u_mask', 'u_colour']) {
      this.#uniform[name] = gl.getUniformLocation(this.#program, name);
    }
    this.#vao = gl.createVertexArray();
    this.#positions = gl.createBuffer();
    this.#kinds = gl.createBuffer();
    gl.bindVertexArray(this.#vao);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#positions);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 8, 0);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#kinds);
    gl.enableVertexAttribArray(1);
    gl.vertexAttribIPointer(1, 2, gl.UNSIGNED_BYTE, 2, 0);
    gl.bindVertexArray(null);
    this.#capacity = 0; // after a lost context everything is written again
  }

  onRemove(_map: MapLibreMap, gl: WebGL2RenderingContext): void {
    gl.deleteBuffer(this.#positions);
    gl.deleteBuffer(this.#kinds);
    gl.deleteVertexArray(this.#vao);
    gl.deleteProgram(this.#program);
    this.#program = null;
  }

  render(gl: WebGL2RenderingContext): void {
    if (this.points.length === 0 || !this.#program) return;
    this.#upload(gl);
    if (!this.#origin) return;
    const v = this.view();
    const [ox, oy] = this.#origin;
    // In doubles: only the small difference goes down to 32 bits.
    const sx = (2 * v.scale) / v.width;
    const sy = (-2 * v.scale) / v.height;
    const size = pointSize(zoomOf(v.scale)) * devicePixelRatio;
    gl.useProgram(this.#program);
    gl.uniform2f(this.#uniform.u_offset, (ox - v.x) * sx, (oy - v.y) * sy);
    gl.uniform2f(this.#uniform.u_scale, sx, sy);
    gl.uniform1f(this.#uniform.u_size, size);
    gl.uniform1uiv(this.#uniform.u_mask, this.#mask.words);
    gl.uniform4fv(this.#uniform.u_colour, this.#colour);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.disable(gl.DEPTH_TEST);
    gl.disable(gl.STENCIL_TEST);
    gl.bindVertexArray(this.#vao);
    gl.drawArrays(gl.POINTS, 0, this.points.length);
    gl.bindVertexArray(null);
    this.onDrawn();
  }

  #upload(gl: WebGL2RenderingContext): void {
    const p = this.points;
    if (this.#capacity < p.length || !this.#origin) {
      this.#capacity = p.x.length;
      const box = p.bounds();
      if (!box) return;
      this.#origin = [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2];
      this.#dirty = { from: 0, to: p.length - 1 };
      gl.bindBuffer(gl.ARRAY_BUFFER, this.#positions);
      gl.bufferData(gl.ARRAY_BUFFER, this.#capacity * 8, gl.DYNAMIC_DRAW);
      gl.bindBuffer(gl.ARRAY_BUFFER, this.#kinds);
      gl.bufferData(gl.ARRAY_BUFFER, this.#capacity * 2, gl.DYNAMIC_DRAW);
    }
    if (!this.#dirty) return;
    const { from, to } = this.#dirty;
    this.#dirty = null;
    const [ox, oy] = this.#origin;
    const n = to - from + 1;
    const positions = new Float32Array(2 * n);
    const kinds = new Uint8Array(2 * n);
    for (let i = 0; i < n; i++) {
      const x = p.x[from + i];
      positions[2 * i] = x === x ? x - ox : far;
      positions[2 * i + 1] = x === x ? p.y[from + i] - oy : far;
      kinds[2 * i] = p.severity[from + i];
      kinds[2 * i + 1] = p.domain[from + i];
    }
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#positions);
    gl.bufferSubData(gl.ARRAY_BUFFER, from * 8, positions);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.#kinds);
    gl.bufferSubData(gl.ARRAY_BUFFER, from * 2, kinds);
  }
}

function link(gl: WebGL2RenderingContext, vertex: string, fragment: string): WebGLProgram {
  const program = gl.createProgram();
  for (const [type, source] of [
    [gl.VERTEX_SHADER, vertex],
    [gl.FRAGMENT_SHADER, fragment],
  ] as const) {
    const shader = gl.createShader(type);
    if (!shader) throw new Error('create shader: the WebGL context is lost');
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(`compile shader: ${gl.getShaderInfoLog(shader)}`);
    gl.attachShader(program, shader);
    gl.deleteShader(shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(`link shaders: ${gl.getProgramInfoLog(program)}`);
  return program;
}
