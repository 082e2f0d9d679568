import { trace, type Layer } from "./layer";
import type { Objects } from "./objects";
import { ringsOf } from "./objects";
import type { Draft } from "./draft";

// View is how slide pixels lie on the screen: screen = off + scale * slide.
export interface View { x: number; y: number; scale: number; w: number; h: number }

export interface Scene {
  objects: Objects;
  preview: Objects; // of searches that are not done
  truth: Objects; // to compare with
  layers: [Layer, Objects][]; // what is drawn
  selected: Set<string>;
  draft: Draft | null;
  hidden: boolean;
  rect: [number, number, number, number] | null; // being drawn, slide pixels
  brush: { points: [number, number][]; radius: number; erase: boolean } | null;
}

// paint draws a frame and returns whether there is more to draw.
export function paint(c: CanvasRenderingContext2D, ratio: number, v: View, s: Scene): boolean {
  c.setTransform(1, 0, 0, 1, 0, 0);
  c.clearRect(0, 0, c.canvas.width, c.canvas.height);
  c.setTransform(ratio, 0, 0, ratio, 0, 0);
  let more = false;
  if (!s.hidden) for (const [layer, objects] of s.layers) more = layer.draw(c, ratio, v, objects) || more;
  paintSelected(c, v, s);
  if (s.draft) paintDraft(c, v, s.draft);
  const X = (x: number) => v.x + v.scale * x, Y = (y: number) => v.y + v.scale * y;
  if (s.rect) {
    const [x0, y0, x1, y1] = s.rect;
    c.strokeStyle = "#2563eb"; c.lineWidth = 1.5; c.setLineDash([6, 4]);
    c.strokeRect(X(x0), Y(y0), (x1 - x0) * v.scale, (y1 - y0) * v.scale);
    c.setLineDash([]);
  }
  if (s.brush && s.brush.points.length > 0) {
    c.strokeStyle = s.brush.erase ? "rgba(200,30,30,.45)" : "rgba(37,99,235,.45)";
    c.lineCap = c.lineJoin = "round";
    c.lineWidth = Math.max(1, 2 * s.brush.radius * v.scale);
    c.beginPath();
    const [first, ...rest] = s.brush.points;
    c.moveTo(X(first[0]), Y(first[1]));
    c.lineTo(X(first[0]), Y(first[1]));
    for (const [x, y] of rest) c.lineTo(X(x), Y(y));
    c.stroke();
  }
  return more;
}

function paintSelected(c: CanvasRenderingContext2D, v: View, s: Scene) {
  for (const id of s.selected) {
    const o = s.objects.get(id);
    if (!o) continue;
    c.beginPath();
    trace(c, v, o.rings);
    c.strokeStyle = "#ffd400"; c.lineWidth = 3; c.stroke();
  }
}

function paintDraft(c: CanvasRenderingContext2D, v: View, d: Draft) {
  const f = d.shown();
  if (f) {
    c.beginPath();
    trace(c, v, ringsOf(f.geometry));
    c.fillStyle = "rgba(0,200,90,.22)"; c.fill("evenodd");
    c.strokeStyle = "#00a94b"; c.lineWidth = 2; c.stroke();
  }
  if (d.box) {
    const [x0, y0, x1, y1] = d.box;
    c.strokeStyle = "#00a94b"; c.lineWidth = 1; c.setLineDash([5, 4]);
    c.strokeRect(v.x + v.scale * x0, v.y + v.scale * y0, v.scale * (x1 - x0), v.scale * (y1 - y0));
    c.setLineDash([]);
  }
  for (const p of d.points) {
    c.beginPath();
    c.arc(v.x + v.scale * p.x, v.y + v.scale * p.y, 5, 0, 2 * Math.PI);
    c.fillStyle = p.label ? "#00c85a" : "#e02020"; c.fill();
    c.strokeStyle = "#fff"; c.lineWidth = 1.5; c.stroke();
  }
}
