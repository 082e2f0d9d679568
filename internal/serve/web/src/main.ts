import * as api from "./api";
import { App } from "./app";
import { listen } from "./input";
import { bar, panel, slideList } from "./panel";

declare global {
  interface Window { slidesam: App } // for tests and the curious
}

const status = document.getElementById("status")!;
const say = (text: string, bad = false) => {
  status.textContent = text;
  status.classList.toggle("bad", bad);
};

const canvas = document.getElementById("overlay") as HTMLCanvasElement;
const app = (window.slidesam = new App(document.getElementById("osd")!, canvas, say));
const setTool = listen(app, canvas);
const parts = [bar(app, setTool), panel(app)];
let soon = 0;
app.onChange = () => {
  soon ||= requestAnimationFrame(() => {
    soon = 0;
    for (const p of parts) p();
  });
};

const fromHash = (list: api.SlideSummary[]) => {
  const id = list.some((s) => s.id === location.hash.slice(1)) ? location.hash.slice(1) : list[0]?.id;
  if (id && id !== app.slide?.id) app.run(() => app.open(id));
};

app.run(async () => {
  const list = await api.slides();
  parts.push(slideList(app, list));
  window.addEventListener("hashchange", () => fromHash(list));
  fromHash(list);
});
app.onChange();
