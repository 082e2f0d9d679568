import Flatbush from "flatbush";
import type { Feature, Geometry } from "./api";
import { className, colorOf } from "./classes";

// Obj is an annotation as it is drawn. Rings are flat: x, y, x, y.
export interface Obj {
  id: string;
  feature: Feature;
  rings: Float64Array[];
  box: [number, number, number, number];
  area: number; // pixels of level 0
  cls: string;
  color: [number, number, number];
}

export function ringsOf(g: Geometry): Float64Array[] {
  const polygons = g.type === "Polygon" ? [g.coordinates] : g.type === "MultiPolygon" ? g.coordinates : [];
  return polygons.flatMap((p) => p.map((r) => Float64Array.from(r.flat())));
}

function shoelace(r: Float64Array): number {
  let a = 0;
  for (let i = 0; i + 3 < r.length; i += 2) a += r[i] * r[i + 3] - r[i + 2] * r[i + 1];
  return a / 2;
}

export function objOf(f: Feature): Obj {
  const rings = ringsOf(f.geometry);
  const box: Obj["box"] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const r of rings)
    for (let i = 0; i < r.length; i += 2) {
      box[0] = Math.min(box[0], r[i]); box[1] = Math.min(box[1], r[i + 1]);
      box[2] = Math.max(box[2], r[i]); box[3] = Math.max(box[3], r[i + 1]);
    }
  // The first ring of each polygon is its outline, the others are holes.
  let area = 0;
  const polygons = f.geometry.type === "Polygon" ? [f.geometry.coordinates.length] : f.geometry.type === "MultiPolygon" ? f.geometry.coordinates.map((p) => p.length) : [];
  let k = 0;
  for (const n of polygons) for (let i = 0; i < n; i++, k++) area += (i ? -1 : 1) * Math.abs(shoelace(rings[k]));
  const cls = className(f);
  return { id: f.id ?? "", feature: f, rings, box, area, cls, color: colorOf(cls, f.properties?.classification?.color) };
}

// inside reports whether a point lies in an object, by the even-odd rule.
export function inside(o: Obj, x: number, y: number): boolean {
  let odd = false;
  for (const r of o.rings)
    for (let i = 0; i + 3 < r.length; i += 2) {
      const x0 = r[i], y0 = r[i + 1], x1 = r[i + 2], y1 = r[i + 3];
      if (y0 > y !== y1 > y && x < x0 + ((y - y0) / (y1 - y0)) * (x1 - x0)) odd = !odd;
    }
  return odd;
}

// Objects are all annotations of a slide, with an index of where they lie. What
// came since the index was built is looked at one by one.
export class Objects {
  version = 0; // of the content
  private byID = new Map<string, Obj>();
  private indexed: Obj[] = [];
  private index: Flatbush | null = null;
  private recent: Obj[] = [];

  get size() { return this.byID.size; }
  get(id: string) { return this.byID.get(id); }
  all() { return this.byID.values(); }

  clear() { this.version++; this.byID.clear(); this.indexed = []; this.index = null; this.recent = []; }

  change(add: Feature[], remove: string[]) {
    this.version++;
    for (const id of remove) this.byID.delete(id);
    for (const f of add) {
      const o = objOf(f);
      this.byID.set(o.id, o);
      this.recent.push(o);
    }
    if (this.recent.length > 512 || this.indexed.length > 2 * this.byID.size + 512) this.rebuild();
  }

  private rebuild() {
    this.indexed = [...this.byID.values()].filter((o) => o.rings.length > 0);
    this.recent = [];
    this.index = null;
    if (this.indexed.length === 0) return;
    this.index = new Flatbush(this.indexed.length);
    for (const o of this.indexed) this.index.add(...o.box);
    this.index.finish();
  }

  // within returns the objects whose boxes meet a rectangle.
  within(x0: number, y0: number, x1: number, y1: number): Obj[] {
    const out: Obj[] = [];
    if (this.index)
      for (const i of this.index.search(x0, y0, x1, y1)) {
        const o = this.indexed[i];
        if (this.byID.get(o.id) === o) out.push(o);
      }
    for (const o of this.recent)
      if (this.byID.get(o.id) === o && o.box[0] <= x1 && o.box[2] >= x0 && o.box[1] <= y1 && o.box[3] >= y0) out.push(o);
    return out;
  }

  // at returns the smallest object at a point.
  at(x: number, y: number): Obj | undefined {
    let best: Obj | undefined;
    for (const o of this.within(x, y, x, y)) if (inside(o, x, y) && (!best || o.area < best.area)) best = o;
    return best;
  }

  // sums are count and area of each class.
  sums(): Map<string, { count: number; area: number; color: [number, number, number] }> {
    const m = new Map<string, { count: number; area: number; color: [number, number, number] }>();
    for (const o of this.byID.values()) {
      const s = m.get(o.cls) ?? { count: 0, area: 0, color: o.color };
      s.count++;
      s.area += o.area;
      m.set(o.cls, s);
    }
    return m;
  }
}
