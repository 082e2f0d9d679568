import type { Candidates, Feature } from "./api";

export interface Click { x: number; y: number; label: 0 | 1 }

// Draft is an object that is being outlined: prompts, and the candidates for
// them. Each prompt is a step that can be taken back.
export class Draft {
  points: Click[] = [];
  box: [number, number, number, number] | null = null;
  answer: Candidates | null = null;
  chosen = 0;
  private steps: { points: Click[]; box: Draft["box"]; answer: Candidates | null; chosen: number }[] = [];

  private keep() { this.steps.push({ points: [...this.points], box: this.box, answer: this.answer, chosen: this.chosen }); }

  click(p: Click) { this.keep(); this.points.push(p); }

  setBox(b: [number, number, number, number]) { this.keep(); this.box = b; this.answer = null; }

  take(a: Candidates) { this.answer = a; this.chosen = a.best; }

  // replace puts an outline in the place of the candidates, as a brush does.
  replace(f: Feature) {
    this.keep();
    if (this.answer) this.answer = { ...this.answer, candidates: this.answer.candidates.map((c, i) => (i === this.chosen ? f : c)) };
  }

  // back takes a step back and returns false if there is none.
  back(): boolean {
    const s = this.steps.pop();
    if (!s) return false;
    Object.assign(this, s);
    return this.points.length > 0 || this.box !== null;
  }

  next() {
    const n = this.answer?.candidates.length ?? 0;
    if (n > 0) this.chosen = (this.chosen + 1) % n;
  }

  shown(): Feature | undefined { return this.answer?.candidates[this.chosen]; }

  // request is what to ask the server: all prompts, and the answer that they
  // correct.
  request(downsample: number) {
    return {
      points: this.points, box: this.box ?? undefined, downsample,
      state: this.answer?.state ?? "", candidate: this.chosen,
    };
  }
}
