import type { App, Tool } from "./app";
import * as api from "./api";
import { classes, css } from "./classes";

function el<K extends keyof HTMLElementTagNameMap>(tag: K, props: Partial<HTMLElementTagNameMap[K]> = {}, ...children: (Node | string)[]): HTMLElementTagNameMap[K] {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children);
  return e;
}

const button = (text: string, key: string, onclick: () => unknown) => el("button", { onclick: () => { onclick(); }, type: "button" }, text, ...(key ? [el("kbd", {}, key)] : []));

// Styles in elements are not allowed by the page's policy; a canvas is.
function swatch(color: [number, number, number]) {
  const c = el("canvas", { className: "swatch", width: 1, height: 1 });
  const pen = c.getContext("2d")!;
  pen.fillStyle = css(color);
  pen.fillRect(0, 0, 1, 1);
  return c;
}

export function bar(app: App, setTool: (t: Tool) => void) {
  const tools: [Tool, string, string][] = [["segment", "Outline", "S"], ["move", "Move", "M"], ["rect", "Nuclei in rectangle", "R"], ["brush", "Brush", "B"]];
  const buttons = tools.map(([t, text, key]) => [t, button(text, key, () => setTool(t))] as const);
  const gap = () => el("span", { className: "gap" });
  document.getElementById("bar")!.append(
    ...buttons.map(([t, b]) => ((b.id = `tool-${t}`), b)), gap(),
    button("Keep", "Enter", () => app.accept()), button("Next candidate", "N", () => app.nextCandidate()), button("Discard", "Esc", () => app.dismiss()), gap(),
    button("Undo", "Ctrl+Z", () => app.step("undo")), button("Redo", "Ctrl+Y", () => app.step("redo")), button("Delete", "Del", () => app.remove()), button("Simplify", "L", () => app.simplify()), gap(),
    button("Everything here", "E", () => app.search("everything", app.viewBox())), button("Whole slide", "W", () => app.search("nuclei", null)), button("Hide", "H", () => { app.scene.hidden = !app.scene.hidden; app.changed(); }),
  );
  return () => { for (const [t, b] of buttons) b.setAttribute("aria-pressed", String(app.tool === t)); };
}

export function slideList(app: App, list: api.SlideSummary[]) {
  const nav = document.getElementById("slides")!;
  const buttons = list.map((s) => {
    const b = el("button", { type: "button", title: s.path, onclick: () => { location.hash = s.id; } }, el("img", { src: `v1/slides/${s.id}/thumbnail`, loading: "lazy", alt: "" }), s.name);
    return [s.id, b] as const;
  });
  nav.append(...buttons.map(([, b]) => b));
  if (list.length === 0) nav.append("No slides in the folder.");
  return () => { for (const [id, b] of buttons) b.setAttribute("aria-current", String(app.slide?.id === id)); };
}

const time = (s: number) => (s >= 90 ? `${Math.round(s / 60)} min` : `${Math.round(s)} s`);

function areaText(px: number, mpp: number | null): string {
  if (!mpp) return `${Math.round(px)} px²`;
  const um = px * mpp * mpp;
  return um >= 1e5 ? `${(um / 1e6).toFixed(3)} mm²` : `${um.toFixed(um < 100 ? 1 : 0)} µm²`;
}

export function panel(app: App) {
  const aside = document.getElementById("panel")!;
  return () => {
    const s = app.slide;
    if (!s) { aside.replaceChildren(el("h2", {}, "slidesam"), "Choose a slide."); return; }
    const sums = app.scene.objects.sums();
    const rows = [...classes.map((c) => c.name), ...[...sums.keys()].filter((n) => !classes.some((c) => c.name === n))].map((name) => {
      const i = classes.findIndex((c) => c.name === name), sum = sums.get(name);
      const row = el("tr", { className: "class", onclick: () => { if (i >= 0) app.setClass(i); } },
        el("td", {}, swatch(sum?.color ?? classes[i].color), name || "no class", ...(i >= 0 ? [el("kbd", {}, String(i + 1))] : [])),
        el("td", {}, sum ? String(sum.count) : ""), el("td", {}, sum ? areaText(sum.area, s.mpp) : ""));
      row.setAttribute("aria-selected", String(i === app.cls));
      return row;
    });
    const jobs = app.jobs.slice(-5).reverse().map((j) => {
      const over = j.state !== "queued" && j.state !== "running";
      const box = el("div", { className: "job" }, `${j.request.kind === "nuclei" ? "Nuclei" : "Everything"}${j.request.region ? " in a rectangle" : ", whole slide"}: ${j.state}`,
        el("div", { className: "muted" }, j.reason ?? `${j.objects} objects, tile ${j.done} of ${j.total || "?"}${j.left && !over ? `, ${time(j.left)} left` : ""}`));
      if (!over) {
        const p = el("progress", { max: j.total || 1 });
        if (j.total) p.value = j.done;
        box.append(p, button("Cancel", "", () => app.stopJob(j.id)));
      }
      if (j.state === "cancelled" || j.state === "failed") box.append(button("Resume", "", () => app.resumeJob(j.id)));
      return box;
    });
    const save = (ext: string, text: string, query: string) => button(text, "", () => {
      el("a", { href: `v1/slides/${s.id}/annotations${ext}${query}`, download: s.name + (ext || ".geojson") }).click();
    });
    const more = s.associated.map((name) => {
      const secret = name === "label" || name === "macro";
      return button(secret ? `Show ${name} (may name a patient)` : `Show ${name}`, "", () => window.open(`v1/slides/${s.id}/associated/${encodeURIComponent(name)}${secret ? "?reveal=true" : ""}`, "_blank", "noopener"));
    });
    const file = el("input", { type: "file", accept: ".geojson,.json", hidden: true, onchange: () => { const f = file.files?.[0]; if (f) app.compare(f); } });
    const c = app.comparison;
    const compared = !c ? [] : [
      el("div", { id: "comparison" }, `Dice ${c.dice.toFixed(3)}, PQ ${c.pq.toFixed(3)} (DQ ${c.dq.toFixed(3)}, SQ ${c.sq.toFixed(3)}), AJI ${c.aji.toFixed(3)}; ${c.tp} found, ${c.fn} missed, ${c.fp} invented`),
      ...c.worst.slice(0, 12).map((f) => el("div", {}, button(f.kind === "poor" ? `IoU ${f.iou.toFixed(2)}` : f.kind, "", () => app.show(f.bounds)), ` ${areaText(f.wrong, s.mpp)} differ`)),
      button("Hide truth", "", () => app.endComparison()),
    ];
    const shown = app.scene.draft?.shown(), quality = shown?.properties?.measurements?.["Predicted IoU"];
    aside.replaceChildren(
      el("h2", {}, s.name),
      el("div", { className: "muted" }, `${s.width} × ${s.height} px, ${s.mpp ? `${+s.mpp.toPrecision(4)} µm/px` : "pixel size unknown"}${s.objective ? `, ${s.objective}×` : ""}, ${s.format}`),
      ...(shown ? [el("h2", {}, "This outline"), el("div", { id: "candidate" }, `candidate ${app.scene.draft!.chosen + 1} of ${app.scene.draft!.answer!.candidates.length}${quality !== undefined ? `, predicted IoU ${quality.toFixed(2)}` : ""}`)] : []),
      el("h2", {}, "Classes"), el("table", {}, el("thead", {}, el("tr", {}, el("th", {}, "class"), el("th", {}, "count"), el("th", {}, "area"))), el("tbody", {}, ...rows)),
      el("div", { className: "muted", id: "count" }, `${app.scene.objects.size} objects${app.scene.selected.size ? `, ${app.scene.selected.size} selected` : ""}${app.leftOut ? `; ${app.leftOut} not drawn at this zoom` : ""}`),
      el("h2", {}, "Save"), el("div", { className: "muted" }, "Every change is saved at once."),
      el("div", { className: "row" }, save("", "GeoJSON", "?download=true"), save(".csv", "CSV", "")),
      el("h2", {}, "Compare with truth"), file, el("div", { className: "row" }, button("GeoJSON file\u2026", "", () => file.click())), ...compared,
      ...(jobs.length ? [el("h2", {}, "Searches"), ...jobs] : []),
      ...(more.length ? [el("h2", {}, "Other pictures"), el("div", { className: "row" }, ...more)] : []),
    );
  };
}
