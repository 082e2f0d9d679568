package fewshot

import (
	"fmt"
	"html/template"
	"strings"
)

type line struct {
	name, colour string
	x, y         []float64
}

// plot draws lines over steps. Its text is ours: nothing in it needs escaping.
func plot(title string, steps int, lines ...line) template.HTML {
	const w, h, left, low = 460, 220, 50, 30
	bottom, top := 0.0, 0.0
	for k, l := range lines {
		for i, y := range l.y {
			if k == 0 && i == 0 {
				bottom, top = y, y
			}
			bottom, top = min(bottom, y), max(top, y)
		}
	}
	if len(lines[0].y) == 0 {
		return template.HTML("<p>" + title + ": nothing was measured</p>")
	}
	pad := max(1e-3, 0.05*(top-bottom))
	bottom, top = bottom-pad, top+pad
	px := func(x float64) float64 { return left + x/float64(max(1, steps))*(w-left-10) }
	py := func(y float64) float64 { return 10 + (top-y)/(top-bottom)*(h-low-10) }
	var b strings.Builder
	fmt.Fprintf(&b, `<figure><svg viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">`, w, h, w, h, title)
	for i := range 5 {
		y := bottom + (top-bottom)*float64(i)/4
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%.3f</text>`, left, py(y), w-10, left-5, py(y)+4, y)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d">0</text><text x="%d" y="%d" text-anchor="end">%d steps</text>`, left, h-8, w-10, h-8, steps)
	for k, l := range lines {
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, l.colour)
		for i := range l.x {
			fmt.Fprintf(&b, "%.1f,%.1f ", px(l.x[i]), py(l.y[i]))
		}
		fmt.Fprintf(&b, `"/><text x="%d" y="%d" fill="%s">%s</text>`, left+10+100*k, h-8, l.colour, l.name)
	}
	fmt.Fprintf(&b, `</svg><figcaption>%s</figcaption></figure>`, title)
	return template.HTML(b.String())
}
