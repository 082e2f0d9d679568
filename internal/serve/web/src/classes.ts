import type { Feature } from "./api";

// QuPath's classes and colours, as a new project has them.
export const classes: { name: string; color: [number, number, number] }[] = [
  { name: "Tumor", color: [200, 0, 0] },
  { name: "Stroma", color: [150, 200, 150] },
  { name: "Immune cells", color: [160, 90, 160] },
  { name: "Necrosis", color: [50, 50, 50] },
  { name: "Other", color: [255, 200, 0] },
  { name: "Region*", color: [0, 0, 180] },
  { name: "Ignore*", color: [180, 180, 180] },
  { name: "Positive", color: [250, 62, 62] },
  { name: "Negative", color: [112, 112, 225] },
];

const known = new Map(classes.map((c) => [c.name, c.color]));

export function className(f: Feature): string {
  const c = f.properties?.classification;
  return c?.name ?? c?.names?.join(": ") ?? "";
}

// colorOf is the class's own colour, QuPath's, or one made from its name.
export function colorOf(name: string, own?: [number, number, number]): [number, number, number] {
  const c = own ?? known.get(name);
  if (c) return c;
  if (name === "") return [0, 120, 215];
  let h = 0;
  for (const ch of name) h = (h * 31 + ch.charCodeAt(0)) >>> 0;
  return [60 + (h % 160), 60 + ((h >> 8) % 160), 60 + ((h >> 16) % 160)];
}

export const css = ([r, g, b]: [number, number, number], alpha = 1) => `rgba(${r},${g},${b},${alpha})`;
