import * as api from "./api";
import { classes } from "./classes";
import { Draft, type Click } from "./draft";
import { Layer } from "./layer";
import { Objects } from "./objects";
import { paint, type Scene, type View } from "./overlay";

export type Tool = "segment" | "move" | "rect" | "brush";

// App is one slide on the screen and what is done with it.
export class App {
  slide: api.Slide | null = null;
  tool: Tool = "segment";
  cls = 0; // index into classes
  undo = 0;
  redo = 0;
  revision = 0;
  jobs: api.Job[] = [];
  comparison: api.Comparison | null = null;
  brushRadius = 12; // screen pixels
  busy = 0;
  leftOut = 0;
  frame = 0; // milliseconds that the last frame took
  readonly scene: Scene = { objects: new Objects(), preview: new Objects(), truth: new Objects(), layers: [], selected: new Set(), draft: null, hidden: false, rect: null, brush: null };
  readonly viewer: OpenSeadragon.Viewer;
  onChange: () => void = () => {};
  private readonly canvas: HTMLCanvasElement;
  private readonly pen: CanvasRenderingContext2D;
  private waiting: AbortController | null = null;
  private ahead: AbortController | null = null;
  private aheadTimer = 0;
  private drawing = false;
  private followed = new Set<string>();

  constructor(element: HTMLElement, canvas: HTMLCanvasElement, private readonly say: (text: string, bad?: boolean) => void) {
    this.canvas = canvas;
    this.scene.layers = [[new Layer(), this.scene.objects], [new Layer(), this.scene.preview], [new Layer(), this.scene.truth]];
    this.pen = canvas.getContext("2d")!;
    // OpenSeadragon would put a style into the page, which the page's policy
    // forbids, unless it finds its mark: an element that does nothing has it.
    const mark = document.createElementNS("slidesam", "style");
    mark.setAttribute("data-openseadragon-mobile-css", "true");
    document.head.append(mark);
    this.viewer = OpenSeadragon({
      element, drawer: "canvas", showNavigationControl: false, showNavigator: false, minZoomImageRatio: 0.6, maxZoomPixelRatio: 8,
      animationTime: 0.4, gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: false }, imageSmoothingEnabled: true,
    } as OpenSeadragon.Options);
    this.viewer.addHandler("update-viewport", () => this.draw());
    this.viewer.addHandler("animation", () => this.draw());
    this.viewer.addHandler("open", () => {
      this.viewer.forceResize(); // the page may have been laid out since
      requestAnimationFrame(() => { this.viewer.viewport.goHome(true); this.draw(); this.lookAhead(); });
    });
    this.viewer.addHandler("animation-finish", () => this.lookAhead());
    this.viewer.addHandler("canvas-click", (e) => {
      if (this.tool === "move" && e.quick) this.select(this.toSlide(e.position.x, e.position.y), false);
    });
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  // ---- where things are

  view(): View {
    const item = this.viewer.world.getItemAt(0);
    const w = this.canvas.clientWidth, h = this.canvas.clientHeight;
    if (!item) return { x: 0, y: 0, scale: 1, w, h };
    const o = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(0, 0));
    const p = item.imageToViewerElementCoordinates(new OpenSeadragon.Point(1000, 0));
    return { x: o.x, y: o.y, scale: (p.x - o.x) / 1000, w, h };
  }

  toSlide(x: number, y: number): [number, number] {
    const v = this.view();
    return [(x - v.x) / v.scale, (y - v.y) / v.scale];
  }

  onSlide([x, y]: [number, number]): boolean {
    return !!this.slide && x >= 0 && y >= 0 && x <= this.slide.width && y <= this.slide.height;
  }

  clampBox(a: [number, number], b: [number, number]): [number, number, number, number] {
    const { width, height } = this.slide!;
    const f = (v: number, most: number) => Math.min(Math.max(Math.round(v), 0), most);
    return [f(Math.min(a[0], b[0]), width), f(Math.min(a[1], b[1]), height), f(Math.max(a[0], b[0]), width), f(Math.max(a[1], b[1]), height)];
  }

  viewBox(): [number, number, number, number] {
    const v = this.view();
    return this.clampBox(this.toSlide(0, 0), this.toSlide(v.w, v.h));
  }

  downsample(): number { return 1 / this.view().scale; }

  // ---- drawing

  private resize() {
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.canvas.clientWidth * ratio);
    this.canvas.height = Math.round(this.canvas.clientHeight * ratio);
    this.draw();
  }

  draw() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      const begun = performance.now();
      const more = paint(this.pen, window.devicePixelRatio || 1, this.view(), this.scene);
      this.frame = performance.now() - begun;
      const left = this.scene.layers[0][0].leftOut;
      if (left !== this.leftOut) { this.leftOut = left; this.onChange(); }
      if (more) this.draw();
      this.drawScale();
    });
  }

  private drawScale() {
    const line = document.getElementById("scaleline")!, text = document.getElementById("scaletext")!;
    const unit = this.slide?.mpp ?? 1; // without a pixel size, pixels
    const per = unit / this.view().scale; // on one screen pixel
    const rough = per * 120;
    const base = 10 ** Math.floor(Math.log10(rough));
    const nice = base * (rough / base >= 5 ? 5 : rough / base >= 2 ? 2 : 1);
    line.style.width = `${nice / per}px`;
    text.textContent = this.slide?.mpp ? (nice >= 1000 ? `${nice / 1000} mm` : `${+nice.toPrecision(3)} µm`) : `${+nice.toPrecision(3)} px`;
  }

  // ---- slides

  async open(id: string) {
    this.waiting?.abort();
    const s = await api.slide(id);
    this.slide = s;
    this.scene.draft = null;
    this.scene.selected.clear();
    this.scene.objects.clear();
    this.scene.preview.clear();
    this.scene.truth.clear();
    this.comparison = null;
    this.viewer.open({ tileSource: {
      width: s.width, height: s.height, tileSize: s.tileSize, tileOverlap: s.overlap, minLevel: 0, maxLevel: s.maxLevel,
      getTileUrl: (level: number, x: number, y: number) => `v1/slides/${s.id}/slide_files/${level}/${x}_${y}.jpeg?v=${s.digest}`,
    } });
    await this.reload();
    this.jobs = (await api.jobs()).filter((j) => j.slide === s.id);
    for (const j of this.jobs) this.follow(j);
    this.changed();
  }

  async reload() {
    if (!this.slide) return;
    const id = this.slide.id;
    const c = await api.annotations(id);
    if (this.slide.id !== id) return;
    this.scene.objects.clear();
    this.scene.objects.change(c.features, []);
    ({ edit: this.revision, undo: this.undo, redo: this.redo } = c.slidesam);
    this.changed();
  }

  changed() { this.draw(); this.onChange(); }

  // run tells what went wrong; an answer that is not wanted any more is no
  // mistake.
  async run(f: () => Promise<void>) {
    this.busy++;
    try {
      await f();
      if (this.busy === 1) this.say("");
    } catch (e) {
      if ((e as Error).name !== "AbortError") this.say((e as Error).message, true);
    } finally {
      this.busy--;
      this.changed();
    }
  }

  // lookAhead lets the server embed what is on the screen.
  private lookAhead() {
    clearTimeout(this.aheadTimer);
    this.aheadTimer = window.setTimeout(() => {
      this.ahead?.abort();
      if (!this.slide) return;
      this.ahead = new AbortController();
      const v = this.view();
      const [x, y] = this.toSlide(v.w / 2, v.h / 2);
      api.prefetch(this.slide.id, { x, y, downsample: this.downsample() }, this.ahead.signal).catch(() => { /* the click will tell */ });
    }, 120);
  }

  // ---- outlining

  click(p: Click) {
    if (!this.scene.draft && p.label === 0) return this.say("First click inside an object, then outside of it.");
    this.scene.draft ??= new Draft();
    this.scene.draft.click(p);
    this.ask();
  }

  box(b: [number, number, number, number]) {
    this.scene.draft = new Draft();
    this.scene.draft.setBox(b);
    this.ask();
  }

  private ask() {
    const d = this.scene.draft, s = this.slide;
    if (!d || !s) return;
    this.draw();
    this.waiting?.abort();
    const mine = (this.waiting = new AbortController());
    return this.run(async () => {
      const a = await api.segment(s.id, d.request(this.downsample()), mine.signal);
      if (this.scene.draft !== d) return;
      d.take(a);
      if (a.candidates.length === 0) this.say("Nothing found there.");
    });
  }

  nextCandidate() { this.scene.draft?.next(); this.changed(); }

  dismiss() {
    this.waiting?.abort();
    this.scene.draft = null;
    this.scene.selected.clear();
    this.changed();
  }

  accept() {
    const d = this.scene.draft, f = d?.shown();
    if (!d || !f) return;
    this.scene.draft = null;
    return this.edit([this.classified(f, this.cls)], []);
  }

  private classified(f: api.Feature, cls: number): api.Feature {
    const { name, color } = classes[cls];
    return { ...f, properties: { ...f.properties, classification: { name, color } } };
  }

  edit(add: api.Feature[], remove: string[]) {
    const s = this.slide;
    if (!s) return;
    return this.run(async () => this.took(await api.edit(s.id, add, remove)));
  }

  private took(e: api.Edit) {
    this.scene.objects.change(e.added, e.removed);
    for (const id of e.removed) this.scene.selected.delete(id);
    ({ revision: this.revision, undo: this.undo, redo: this.redo } = e);
  }

  step(kind: "undo" | "redo") {
    const d = this.scene.draft, s = this.slide;
    if (d && kind === "undo") { // of the object that is being outlined, first
      this.waiting?.abort();
      if (!d.back()) this.scene.draft = null;
      return this.changed();
    }
    if (!s) return;
    return this.run(async () => this.took(await api.step(s.id, kind)));
  }

  // ---- what is there

  select([x, y]: [number, number], more: boolean) {
    const o = this.scene.objects.at(x, y);
    if (!more) this.scene.selected.clear();
    if (o) this.scene.selected.add(o.id);
    this.changed();
  }

  remove() {
    const ids = [...this.scene.selected];
    if (ids.length > 0) return this.edit([], ids);
  }

  setClass(cls: number) {
    this.cls = cls;
    const fs = [...this.scene.selected].map((id) => this.scene.objects.get(id)).filter((o) => !!o).map((o) => this.classified(o.feature, cls));
    if (fs.length > 0) this.edit(fs, []);
    this.changed();
  }

  private withGeometry(f: api.Feature, g: api.Geometry, measurements: Record<string, number>): api.Feature {
    return { ...f, geometry: g, properties: { ...f.properties, measurements: { ...f.properties?.measurements, ...measurements } } };
  }

  // reshape changes the outline that is being made, or the selected ones.
  private reshape(body: (g: api.Geometry | null) => object, create: boolean) {
    const mpp = this.slide?.mpp ?? 0;
    return this.run(async () => {
      const d = this.scene.draft, shown = d?.shown();
      if (d && shown) {
        const r = await api.geometry({ ...body(shown.geometry), mpp });
        if (r.geometry) d.replace(this.withGeometry(shown, r.geometry, r.measurements));
        return;
      }
      const add: api.Feature[] = [], remove: string[] = [];
      for (const id of this.scene.selected) {
        const o = this.scene.objects.get(id);
        if (!o) continue;
        const r = await api.geometry({ ...body(o.feature.geometry), mpp });
        if (r.geometry) add.push(this.withGeometry(o.feature, r.geometry, r.measurements));
        else remove.push(id);
      }
      if (add.length + remove.length === 0 && create) {
        const r = await api.geometry({ ...body(null), mpp });
        if (!r.geometry) return;
        add.push(this.classified({ type: "Feature", geometry: r.geometry, properties: { objectType: "annotation", measurements: r.measurements } }, this.cls));
      }
      if (add.length + remove.length > 0) this.took(await api.edit(this.slide!.id, add, remove));
    });
  }

  simplify() { return this.reshape((geometry) => ({ op: "simplify", geometry, tolerance: Math.max(1, this.downsample()) }), false); }

  stroke(points: [number, number][], erase: boolean) {
    const radius = this.brushRadius * this.downsample();
    return this.reshape((geometry) => ({ op: erase ? "erase" : "add", geometry, stroke: points, radius }), !erase);
  }

  // ---- searches

  search(kind: "nuclei" | "everything", box: [number, number, number, number] | null) {
    const s = this.slide;
    if (!s) return;
    const region = box && [box[0], box[1], box[2] - box[0], box[3] - box[1]];
    return this.run(async () => {
      const j = await api.startJob(s.id, { kind, region, downsample: this.downsample(), class: classes[this.cls].name });
      this.jobs.push(j);
      this.follow(j);
    });
  }

  private follow(j: api.Job) {
    if (this.followed.has(j.id) || j.state === "done" || j.state === "failed" || j.state === "cancelled") return;
    this.followed.add(j.id);
    const events = new EventSource(`v1/jobs/${j.id}/events`);
    const end = () => { events.close(); this.followed.delete(j.id); this.scene.preview.change([], found); };
    // What tiles have, until the seams between them are merged.
    const found: string[] = [];
    events.addEventListener("objects", (m) => {
      if (this.slide?.id !== j.slide) return;
      const fs: api.Feature[] = JSON.parse((m as MessageEvent<string>).data);
      for (const f of fs) found.push(f.id!);
      this.scene.preview.change(fs, []);
      this.changed();
    });
    events.onmessage = (m) => {
      const now: api.Job = JSON.parse(m.data);
      this.jobs = this.jobs.map((k) => (k.id === now.id ? now : k));
      if (now.state === "done") { end(); if (this.slide?.id === now.slide) this.run(() => this.reload()); }
      if (now.state === "failed" || now.state === "cancelled") end();
      this.onChange();
    };
  }

  stopJob(id: string) { return this.run(async () => this.replaceJob(await api.cancelJob(id))); }

  resumeJob(id: string) {
    return this.run(async () => {
      const j = await api.resumeJob(id);
      this.replaceJob(j);
      this.follow(j);
    });
  }

  private replaceJob(j: api.Job) { this.jobs = this.jobs.map((k) => (k.id === j.id ? j : k)); }

  // ---- truth

  // compare shows the outlines of a GeoJSON file beside the annotations, and
  // how well they fit.
  compare(file: Blob) {
    const s = this.slide;
    if (!s) return;
    return this.run(async () => {
      const content = JSON.parse(await file.text());
      const features: api.Feature[] = Array.isArray(content) ? content : content.features ?? [content];
      this.comparison = await api.compare(s.id, features);
      const classification = { name: "Truth", color: [0, 150, 255] as [number, number, number] };
      this.scene.truth.clear();
      this.scene.truth.change(features.map((f, i) => ({ ...f, id: `truth ${i}`, properties: { classification } })), []);
    });
  }

  endComparison() {
    this.comparison = null;
    this.scene.truth.clear();
    this.changed();
  }

  // show brings a rectangle into view, with room around it.
  show([x, y, w, h]: [number, number, number, number]) {
    const item = this.viewer.world.getItemAt(0), room = Math.max(w, h, 40);
    this.viewer.viewport.fitBounds(item.imageToViewportRectangle(x - room, y - room, w + 2 * room, h + 2 * room));
  }
}
