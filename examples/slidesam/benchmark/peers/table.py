"""The README's table from the lines that peers.py writes."""

NAMES = {
    "slidesam": "slidesam", "slidesam-int8": "slidesam, int8", "slidesam-fp16weights": "slidesam, fp16weights",
    "pytorch": "PyTorch", "onnxruntime": "ONNX Runtime", "onnxruntime-int8": "int8 in ONNX Runtime",
    "openvino": "OpenVINO", "openvino-int8": "int8 in OpenVINO", "huggingface": "Hugging Face",
}
ORDER = list(NAMES)
WHAT = dict(load="load", encode="encode", point="one point, three masks", points64="64 points, 192 masks")


def seconds(s):
    return f"{1000 * s:.0f} ms" if s < 1 else f"{s:.1f} s"


def cell(ours, theirs, text):
    """A peer's value and how many times ours it is."""
    return f"{text} ({theirs / ours:.1f} x)" if ours else text


class Results:
    """Lines of peers.py, by peer and what was measured. A peer may have run
    several times: of the others the best run counts, of slidesam the worst of
    the processes' best runs."""

    def __init__(self, lines):
        self.lines = [x for x in lines if "what" in x]

    def of(self, peer, what, value="best"):
        v = [x[value] for x in self.lines if x["peer"] == peer and x["what"] == what and x.get(value) is not None]
        if not v:
            return None
        return max(v) if peer.startswith("slidesam") else min(v)

    def row(self, title, what, value, form, note=lambda peer: ""):
        ours = self.of("slidesam", what, value)
        out = [title]
        for p in self.peers:
            v = self.of(p, what, value)
            if v is None:
                out.append("")
            elif p == "slidesam":
                out.append(f"**{form(v)}**{note(p)}")
            else:
                out.append(cell(ours, v, form(v)) + note(p))
        return out

    def table(self):
        """The table as Markdown, with what it was measured on."""
        self.peers = [p for p in ORDER if any(x["peer"] == p for x in self.lines)]
        version = {x["peer"]: x["version"].split("+")[0] for x in self.lines}
        rows = [self.row(t, w, "best", seconds) for w, t in WHAT.items()]
        for what in sorted({x["what"] for x in self.lines if x["what"].startswith("everything")}):
            side = what.removeprefix("everything")

            def masks(peer, what=what):
                n = self.of(peer, what, "masks")
                return "" if n is None else f", {n} mask{'s' * (n != 1)}"

            rows.append(self.row(f"everything, {side} x {side} points", what, "best", seconds, masks))
        rows.append(self.row("peak memory after encoding", "encode", "peak_mb", lambda mb: f"{mb / 1000:.2f} GB"))
        rows = [r for r in rows if any(r[1:])]
        head = ["", *(f"{NAMES[p]} {version[p]}" if not p.startswith("slidesam") else NAMES[p] for p in self.peers)]
        lines = ["| " + " | ".join(r) + " |" for r in [head, ["---"] * len(head), *rows]]
        return "\n".join([self.where(), "", *lines, "", *self.notes()])

    def where(self):
        def all_of(key):
            return ", ".join(sorted({str(x[key]) for x in self.lines if x.get(key)}))

        threads = max(x["threads"] for x in self.lines)
        repeat = ", ".join(f"{NAMES[p]} {n}" for p, n in self.runs().items())
        return f"{all_of('model')}, picture of {all_of('picture')}, {threads} threads of {all_of('cores')} cores, {all_of('cpu')}. Processes, one after the other: {repeat}."

    def runs(self):
        return {p: len({x["process"] for x in self.lines if x["peer"] == p}) for p in self.peers}

    def notes(self):
        """What only slidesam says of itself, and what does not agree."""
        ours = [x for x in self.lines if x["peer"] == "slidesam"]
        encode = self.of("slidesam", "encode")
        for what in ("point", "points64"):
            if encode and self.of("slidesam", what):
                yield f"slidesam: {WHAT[what]}: {self.of('slidesam', what) / encode:.4f} of an encode."
        for x in ours:
            if x.get("fma_share"):
                yield f"slidesam: {x['what']} at {100 * x['fma_share']:.0f} % of the FMA rate ({x['fma_gflops']:.0f} GFLOP/s on {x['threads']} threads)."
        for x in ours:
            if x.get("scaling"):
                yield f"slidesam: encode {x['scaling']:.2f} x as fast on {x['threads']} threads as on one."
        for x in ours:
            if x.get("masks") is not None:
                yield f"everything: predicted IoU above {x['pred_iou_thresh']:.4f}, stability from {x['stability_score_thresh']:.4f}."
        for what in sorted({x["what"] for x in self.lines}):
            n = {x["masks"] for x in self.lines if x["what"] == what and x.get("masks") is not None}
            if len(n) > 1:
                yield f"NOT ALIKE: {what} gave {' and '.join(map(str, sorted(n)))} masks."
