package graph

import (
	"bufio"
	"fmt"
	"html"
	"io"
	"slices"
	"strings"

	"gorgonia.org/gorgonia"
)

// drawing is a graph laid out in rows: each node one row below the lowest of
// its inputs.
type drawing struct {
	name        string
	boxes       []*box // row by row
	rows, width int
	ops, leaves int
}

type box struct {
	id       int
	kind     string
	params   string
	shape    string
	leaf     bool
	row, col int
	in       []*box
}

func newDrawing(name string, g *gorgonia.ExprGraph, weights bool) (*drawing, error) {
	sorted, err := gorgonia.Sort(g)
	if err != nil {
		return nil, err
	}
	slices.Reverse(sorted) // inputs before their readers
	d := &drawing{name: name}
	of := map[int64]*box{}
	hidden := map[int64]string{} // names of weights that are not drawn
	for _, n := range sorted {
		b := &box{id: len(of), shape: fmt.Sprint([]int(n.Shape())), leaf: n.Op() == nil}
		if b.leaf {
			d.leaves++
			b.kind = n.Name()
			if n.Value() != nil && !weights {
				hidden[n.ID()] = n.Name()
				continue
			}
		} else {
			d.ops++
			b.kind, b.params, _ = strings.Cut(strings.TrimSuffix(fmt.Sprint(n.Op()), "}"), "{")
			for it := g.From(n.ID()); it.Next(); {
				if in := of[it.Node().ID()]; in != nil {
					b.in = append(b.in, in)
					b.row = max(b.row, in.row+1)
				} else if name, ok := strings.CutSuffix(hidden[it.Node().ID()], ".weight"); ok {
					b.params = name // says more than the sizes
				}
			}
		}
		of[n.ID()] = b
		d.boxes = append(d.boxes, b)
	}
	d.layout()
	return d, nil
}

// layout moves inputs down beside their first reader and gives each node a
// column near those of its inputs.
func (d *drawing) layout() {
	first := map[*box]int{}
	for _, b := range d.boxes {
		for _, in := range b.in {
			if r, ok := first[in]; !ok || b.row < r {
				first[in] = b.row
			}
		}
	}
	for _, b := range d.boxes {
		if b.leaf && first[b] > 0 {
			b.row = first[b] - 1
		}
		d.rows = max(d.rows, b.row+1)
	}
	slices.SortStableFunc(d.boxes, func(a, b *box) int { return a.row - b.row })
	taken := map[[2]int]bool{}
	for _, b := range d.boxes {
		want := 0
		for _, in := range b.in {
			want += in.col
		}
		if len(b.in) > 0 {
			want /= len(b.in)
		}
		for k := 0; ; k++ { // the free column nearest to it
			if c := want - k; c >= 0 && !taken[[2]int{b.row, c}] {
				b.col = c
				break
			}
			if c := want + k; !taken[[2]int{b.row, c}] {
				b.col = c
				break
			}
		}
		taken[[2]int{b.row, b.col}] = true
		d.width = max(d.width, b.col+1)
	}
}

func (d *drawing) dot(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "digraph %q {\n\tnode [shape=box, fontname=Helvetica];\n", d.name)
	for _, b := range d.boxes {
		style := ""
		if b.leaf {
			style = ", style=dashed"
		}
		fmt.Fprintf(out, "\tn%d [label=%q%s];\n", b.id, strings.TrimSpace(b.kind+" "+b.params)+"\n"+b.shape, style)
		for _, in := range b.in {
			fmt.Fprintf(out, "\tn%d -> n%d;\n", in.id, b.id)
		}
	}
	fmt.Fprintln(out, "}")
	return out.Flush()
}

// Sizes of the drawing in pixels.
const (
	boxW, boxH = 250, 48
	gapX, gapY = 40, 30
	margin     = 30
)

func (b *box) at() (x, y int) {
	return margin + b.col*(boxW+gapX), margin + 30 + b.row*(boxH+gapY)
}

// fill tells kinds of nodes apart, with colours that colour-blind readers
// can tell apart too.
func (b *box) fill() string {
	switch {
	case b.leaf:
		return "#ffffff"
	case strings.Contains(b.kind, "attention"):
		return "#f6c89f"
	case b.kind == "linear" || strings.Contains(b.kind, "conv") || strings.Contains(b.kind, "upscale"):
		return "#a9cdea"
	case strings.Contains(b.kind, "norm"):
		return "#c9e6c3"
	}
	return "#ececec"
}

func (d *drawing) svg(w io.Writer) error {
	out := bufio.NewWriter(w)
	width := 2*margin + d.width*(boxW+gapX) - gapX
	height := 2*margin + 30 + d.rows*(boxH+gapY) - gapY
	fmt.Fprintf(out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="Helvetica, Arial, sans-serif">`+"\n", width, height, width, height)
	fmt.Fprintf(out, `<rect width="100%%" height="100%%" fill="#fff"/><text x="%d" y="%d" font-size="20">%s</text>`+"\n", margin, margin+8, html.EscapeString(d.name))
	for _, b := range d.boxes {
		x1, y1 := b.at()
		for _, in := range b.in {
			x0, y0 := in.at()
			x0, y0 = x0+boxW/2, y0+boxH
			fmt.Fprintf(out, `<path d="M%d %d C%d %d %d %d %d %d" fill="none" stroke="#555"/>`+"\n", x0, y0, x0, y0+gapY, x1+boxW/2, y1-gapY, x1+boxW/2, y1)
		}
	}
	for _, b := range d.boxes {
		x, y := b.at()
		dash := ""
		if b.leaf {
			dash = ` stroke-dasharray="4 3"`
		}
		fmt.Fprintf(out, `<rect x="%d" y="%d" width="%d" height="%d" rx="5" fill="%s" stroke="#333"%s/>`, x, y, boxW, boxH, b.fill(), dash)
		for i, s := range []string{b.kind + " " + b.shape, b.params} {
			fmt.Fprintf(out, `<text x="%d" y="%d" font-size="%d" text-anchor="middle">%s</text>`, x+boxW/2, y+20+18*i, 13-2*i, html.EscapeString(s))
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out, "</svg>")
	return out.Flush()
}
