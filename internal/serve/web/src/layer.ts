import { css } from "./classes";
import type { Obj, Objects } from "./objects";
import type { View } from "./overlay";

// What one frame may draw: so much time, and so many objects, as the browser
// does part of the work later.
const frameTime = 4;
const frameObjects = 400;
const chunk = 50;

// mostDrawn bounds the objects of a view. Farther out, where objects are
// specks, every second, third... is left out.
const mostDrawn = 20000;

// Layer is a picture of all objects in view. It is drawn behind the scenes, a
// part in each frame, and shown when it is whole; meanwhile the last one is
// shown, moved and scaled to where it belongs.
export class Layer {
  leftOut = 0; // objects that the view does not show
  private front: HTMLCanvasElement = document.createElement("canvas");
  private back: HTMLCanvasElement = document.createElement("canvas");
  private frontView: View | null = null;
  private frontVersion = -1;
  private work: { view: View; version: number; list: Obj[]; next: number; left: number; pen: CanvasRenderingContext2D; ratio: number } | null = null;

  // draw shows the objects and returns whether it has to be called again.
  draw(c: CanvasRenderingContext2D, ratio: number, v: View, objects: Objects): boolean {
    const current = this.frontVersion === objects.version && this.frontView !== null && same(this.frontView, v);
    if (!current && !this.work) this.begin(ratio, v, objects);
    if (this.work) this.go();
    const f = this.frontView;
    if (f && f.scale > 0) {
      const s = v.scale / f.scale;
      c.drawImage(this.front, v.x - s * f.x, v.y - s * f.y, s * f.w, s * f.h);
    }
    return this.work !== null || this.frontVersion !== objects.version || !this.frontView || !same(this.frontView, v);
  }

  private begin(ratio: number, v: View, objects: Objects) {
    const seen = objects.within(-v.x / v.scale, -v.y / v.scale, (v.w - v.x) / v.scale, (v.h - v.y) / v.scale);
    const every = Math.ceil(seen.length / mostDrawn);
    const list = every > 1 ? seen.filter((_, i) => i % every === 0) : seen;
    this.back.width = Math.max(1, Math.round(v.w * ratio)); // which clears it
    this.back.height = Math.max(1, Math.round(v.h * ratio));
    const pen = this.back.getContext("2d")!;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.work = { view: { ...v }, version: objects.version, list, next: 0, left: seen.length - list.length, pen, ratio };
  }

  private go() {
    const w = this.work!, begun = performance.now();
    for (let n = 0; w.next < w.list.length && n < frameObjects && performance.now() - begun < frameTime; n += chunk) {
      paint(w.pen, w.view, w.list.slice(w.next, w.next + chunk));
      w.next += chunk;
    }
    if (w.next < w.list.length) return;
    [this.front, this.back] = [this.back, this.front];
    this.frontView = w.view;
    this.frontVersion = w.version;
    this.leftOut = w.left;
    this.work = null;
  }
}

function same(a: View, b: View) { return a.x === b.x && a.y === b.y && a.scale === b.scale && a.w === b.w && a.h === b.h; }

function paint(c: CanvasRenderingContext2D, v: View, list: Obj[]) {
  const batches = new Map<string, { color: Obj["color"]; path: Path2D }>();
  for (const o of list) {
    const side = Math.max(o.box[2] - o.box[0], o.box[3] - o.box[1]) * v.scale;
    if (side < 4) {
      c.fillStyle = css(o.color);
      c.fillRect(v.x + (v.scale * (o.box[0] + o.box[2])) / 2 - 1, v.y + (v.scale * (o.box[1] + o.box[3])) / 2 - 1, 2, 2);
      continue;
    }
    const key = o.color.join();
    let b = batches.get(key);
    if (!b) batches.set(key, (b = { color: o.color, path: new Path2D() }));
    trace(b.path, v, o.rings, side < 16 ? 8 : side < 64 ? 24 : Infinity);
  }
  for (const { color, path } of batches.values()) {
    c.fillStyle = css(color, 0.18);
    c.fill(path, "evenodd");
    c.strokeStyle = css(color);
    c.lineWidth = 1.6;
    c.stroke(path);
  }
}

// trace adds rings to a path, each with at most so many vertices: a small
// outline needs no more.
export function trace(c: CanvasRenderingContext2D | Path2D, v: View, rings: Float64Array[], most = Infinity) {
  for (const r of rings) {
    const step = 2 * Math.max(1, Math.ceil(r.length / 2 / most));
    c.moveTo(v.x + v.scale * r[0], v.y + v.scale * r[1]);
    for (let i = step; i < r.length; i += step) c.lineTo(v.x + v.scale * r[i], v.y + v.scale * r[i + 1]);
    c.closePath();
  }
}
