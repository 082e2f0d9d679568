// The server's interface. Addresses are relative, so that they keep whatever
// the page's address begins with.

export type Ring = [number, number][];
export type Geometry =
  | { type: "Polygon"; coordinates: Ring[] }
  | { type: "MultiPolygon"; coordinates: Ring[][] }
  | { type: "Point" | "MultiPoint" | "LineString" | "MultiLineString"; coordinates: unknown };

export interface Feature {
  type: "Feature";
  id?: string;
  geometry: Geometry;
  properties: {
    objectType?: string;
    name?: string;
    classification?: { name?: string; names?: string[]; color?: [number, number, number] };
    measurements?: Record<string, number>;
    [other: string]: unknown;
  } | null;
}

export interface SlideSummary { id: string; name: string; path: string }

export interface Slide extends SlideSummary {
  width: number; height: number; mpp: number | null; objective: number; format: string; levels: number;
  associated: string[]; digest: string; tileSize: number; overlap: number; maxLevel: number;
}

export interface Candidates { candidates: Feature[]; best: number; state: string; cell: { x: number; y: number; w: number; h: number; downsample: number } }
export interface Edit { revision: number; undo: number; redo: number; added: Feature[]; removed: string[] }
export interface Collection { features: Feature[]; slidesam: { edit: number; undo: number; redo: number } }
export interface Job {
  id: string; slide: string; state: "queued" | "running" | "done" | "failed" | "cancelled"; done: number; total: number; objects: number; left: number;
  reason?: string; request: { kind: string; region: number[] | null };
}

export interface Comparison {
  dice: number; pq: number; dq: number; sq: number; aji: number; tp: number; fp: number; fn: number; downsample: number;
  worst: { kind: string; id: string; iou: number; wrong: number; bounds: [number, number, number, number] }[];
}

async function call<T>(method: string, path: string, body?: unknown, signal?: AbortSignal): Promise<T> {
  const init: RequestInit = { method, signal };
  if (body !== undefined) {
    init.headers = { "Content-Type": "application/json" };
    init.body = JSON.stringify(body);
  }
  const r = await fetch(path, init);
  if (!r.ok) {
    let reason = r.statusText;
    try { reason = (await r.json()).detail ?? reason; } catch { /* no JSON: the status has to do */ }
    throw new Error(reason);
  }
  return r.json();
}

export const slides = () => call<SlideSummary[]>("GET", "v1/slides");
export const slide = (id: string) => call<Slide>("GET", `v1/slides/${id}`);
export const segment = (id: string, body: unknown, signal: AbortSignal) => call<Candidates>("POST", `v1/slides/${id}/segment`, body, signal);
export const prefetch = (id: string, body: unknown, signal: AbortSignal) => call<unknown>("POST", `v1/slides/${id}/prefetch`, body, signal);
export const annotations = (id: string) => call<Collection>("GET", `v1/slides/${id}/annotations`);
export const edit = (id: string, add: Feature[], remove: string[]) => call<Edit>("POST", `v1/slides/${id}/annotations`, { add, remove });
export const step = (id: string, kind: "undo" | "redo") => call<Edit>("POST", `v1/slides/${id}/annotations/${kind}`);
export const geometry = (body: unknown) => call<{ geometry: Geometry | null; measurements: Record<string, number> }>("POST", "v1/geometry", body);
export const jobs = () => call<Job[]>("GET", "v1/jobs");
export const startJob = (id: string, body: unknown) => call<Job>("POST", `v1/slides/${id}/jobs`, body);
export const cancelJob = (job: string) => call<Job>("DELETE", `v1/jobs/${job}`);
export const resumeJob = (job: string) => call<Job>("POST", `v1/jobs/${job}/resume`);
export const compare = (id: string, truth: Feature[]) => call<Comparison>("POST", `v1/slides/${id}/compare`, { truth });
