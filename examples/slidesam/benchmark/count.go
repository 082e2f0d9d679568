package benchmark

import "github.com/slidesam/sam/vit"

// encoderMACs counts the multiply-adds of an encoder's products: the linear
// layers and convolutions, attention's two products, and the two small
// products of the relative positions. Padding tokens of windows count where
// they take part: in attention, not in the linear layers.
func encoderMACs(c vit.Config) float64 {
	g := float64(c.Grid())
	tokens, width, inner, hidden := g*g, float64(c.Width), float64(c.Heads*c.HeadDim), float64(c.MLP)
	sum := tokens * 3 * float64(c.Patch*c.Patch) * width
	for i := 0; i < c.Depth; i++ {
		sum += tokens * (width*3*inner + inner*width + 2*width*hidden)
		side, queries := g, tokens
		if !c.IsGlobal(i) {
			side = float64(c.Window)
		}
		// Each query meets the keys of its window, twice, and the window's
		// rows and columns once.
		sum += queries * inner * (2*side*side + 2*side)
	}
	out := float64(c.Out)
	return sum + tokens*(width*out+9*out*out)
}
