import type { App, Tool } from "./app";
import { classes } from "./classes";

// dragFrom is how far a pointer moves before it drags, in screen pixels.
const dragFrom = 4;

const hints: Record<Tool, string> = {
  segment: "Click: outline · Shift or right click: not this · Drag: box · Enter: keep · N: next candidate · Esc: discard · Space+drag: move",
  move: "Drag: move · Click: select · Delete: remove · 1-9: class",
  rect: "Drag a rectangle: its nuclei are outlined",
  brush: "Drag: paint on the selected outline · Shift or right drag: erase · [ ]: size",
};

// listen lets mouse and keyboard work on the canvas.
export function listen(app: App, canvas: HTMLCanvasElement) {
  let from: { x: number; y: number; button: number; shift: boolean; pan: boolean; moved: boolean } | null = null;
  let space = false;
  const at = (e: PointerEvent | WheelEvent) => {
    const r = canvas.getBoundingClientRect();
    return { x: e.clientX - r.left, y: e.clientY - r.top };
  };
  const hint = () => {
    document.getElementById("hint")!.textContent = hints[app.tool];
    canvas.classList.toggle("through", app.tool === "move");
    canvas.style.cursor = space ? "grab" : "crosshair";
  };

  canvas.addEventListener("contextmenu", (e) => e.preventDefault());
  canvas.addEventListener("pointerdown", (e) => {
    canvas.focus();
    canvas.setPointerCapture(e.pointerId);
    const p = at(e);
    from = { ...p, button: e.button, shift: e.shiftKey, pan: space || e.button === 1, moved: false };
    if (app.tool === "brush" && !from.pan)
      app.scene.brush = { points: [app.toSlide(p.x, p.y)], radius: app.brushRadius * app.downsample(), erase: e.shiftKey || e.button === 2 };
    e.preventDefault();
  });
  canvas.addEventListener("pointermove", (e) => {
    if (!from) return;
    const p = at(e);
    if (!from.moved && Math.hypot(p.x - from.x, p.y - from.y) < dragFrom) return;
    from.moved = true;
    if (from.pan) {
      app.viewer.viewport.panBy(app.viewer.viewport.deltaPointsFromPixels(new OpenSeadragon.Point(from.x - p.x, from.y - p.y)), true);
      from.x = p.x; from.y = p.y;
    } else if (app.tool === "brush") app.scene.brush?.points.push(app.toSlide(p.x, p.y));
    else if (app.slide) app.scene.rect = app.clampBox(app.toSlide(from.x, from.y), app.toSlide(p.x, p.y));
    app.draw();
  });
  canvas.addEventListener("pointercancel", () => { from = null; app.scene.rect = app.scene.brush = null; app.draw(); });
  canvas.addEventListener("pointerup", (e) => {
    const f = from;
    from = null;
    if (!f || !app.slide) return;
    const p = at(e), here = app.toSlide(p.x, p.y), rect = app.scene.rect, brush = app.scene.brush;
    app.scene.rect = app.scene.brush = null;
    app.draw();
    if (f.pan) return;
    if (app.tool === "brush" && brush) { app.stroke(brush.points, brush.erase); return; }
    if (f.moved) {
      if (!rect || rect[2] <= rect[0] || rect[3] <= rect[1]) return;
      if (app.tool === "rect") app.search("nuclei", rect);
      else app.box(rect);
      return;
    }
    if (app.tool !== "segment" || !app.onSlide(here)) return;
    if (e.ctrlKey || e.metaKey) app.select(here, true);
    else app.click({ x: here[0], y: here[1], label: f.shift || f.button === 2 ? 0 : 1 });
  });
  canvas.addEventListener("wheel", (e) => {
    e.preventDefault();
    const p = at(e), v = app.viewer.viewport;
    v.zoomBy(e.deltaY < 0 ? 1.25 : 0.8, v.pointFromPixel(new OpenSeadragon.Point(p.x, p.y)));
    v.applyConstraints();
  }, { passive: false });

  const setTool = (t: Tool) => { app.tool = t; hint(); app.changed(); };
  const pan = (x: number, y: number) => app.viewer.viewport.panBy(app.viewer.viewport.deltaPointsFromPixels(new OpenSeadragon.Point(x, y)));
  const keys: Record<string, () => unknown> = {
    s: () => setTool("segment"), m: () => setTool("move"), r: () => setTool("rect"), b: () => setTool("brush"),
    Enter: () => app.accept(), Escape: () => app.dismiss(), n: () => app.nextCandidate(), l: () => app.simplify(),
    Delete: () => app.remove(), Backspace: () => app.remove(), h: () => { app.scene.hidden = !app.scene.hidden; app.changed(); },
    e: () => app.search("everything", app.viewBox()), w: () => app.search("nuclei", null),
    "[": () => { app.brushRadius = Math.max(2, app.brushRadius - 2); app.changed(); }, "]": () => { app.brushRadius = Math.min(80, app.brushRadius + 2); app.changed(); },
    "+": () => app.viewer.viewport.zoomBy(1.4), "=": () => app.viewer.viewport.zoomBy(1.4), "-": () => app.viewer.viewport.zoomBy(1 / 1.4), "0": () => app.viewer.viewport.goHome(),
    ArrowLeft: () => pan(-80, 0), ArrowRight: () => pan(80, 0), ArrowUp: () => pan(0, -80), ArrowDown: () => pan(0, 80),
  };
  document.addEventListener("keydown", (e) => {
    if (e.target instanceof HTMLInputElement || e.target instanceof HTMLSelectElement) return;
    if (e.key === " " && !(e.target instanceof HTMLButtonElement)) { space = true; hint(); e.preventDefault(); return; }
    if (e.key === "Enter" && e.target instanceof HTMLButtonElement) return;
    if (e.ctrlKey || e.metaKey) {
      const k = e.key.toLowerCase();
      if (k === "z" || k === "y") { app.step(k === "y" || e.shiftKey ? "redo" : "undo"); e.preventDefault(); }
      return;
    }
    const cls = Number(e.key) - 1;
    if (cls >= 0 && cls < classes.length) { app.setClass(cls); return; }
    const f = keys[e.key] ?? keys[e.key.toLowerCase()];
    if (f && !e.altKey) { f(); e.preventDefault(); }
  });
  document.addEventListener("keyup", (e) => { if (e.key === " ") { space = false; hint(); } });
  hint();
  return setTool;
}
