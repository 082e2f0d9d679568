package kernel

// MaskHead is the decoder's upscaling path and its masks in one pass over the
// map: a transposed convolution of size and stride 2, a layer norm over its
// channels, GELU, another such convolution, GELU, and the products of the
// pixels with each mask's hypernetwork. The upscaled map exists for a few
// cells at a time.
//
// Source: mask_decoder.py, predict_masks (segment-anything dca509f).
type MaskHead struct {
	Prompts  int
	H, W     int // cells of the map
	Channels int
	Up1, Up2 int // channels after each convolution
	Masks    int

	X           []float32 // panels of [H*W, Channels] for each prompt
	W1, W2      []float32 // tiles of [4*Up1, Channels] and of [4*Up2, Up1]; outputs in the order (y, x, channel)
	B1, B2      []float32 // [4*Up1, PanelLanes] and [4*Up2, PanelLanes]: the bias of each output for each lane
	Gamma, Beta []float32 // [Up1]
	Eps         float32
	Hyper       []float32 // [Prompts*Masks, Up2]
	Skip        []bool    // [Prompts]: masks that are not wanted are 0; nil: all are wanted
}

// Run writes the masks' logits, [Prompts*Masks, 4*H*4*W].
func (t *MaskHead) Run(dst []float32) { t.run(active, dst) }

type maskHeadTask struct {
	MaskHead
	im     *impl
	dst    []float32
	hyper  []float32 // each prompt's as tiles
	panels int       // of a map
}

var maskHeadTasks freeList[maskHeadTask]

func (t *MaskHead) run(im *impl, dst []float32) {
	need("mask head: x", len(t.X), t.Prompts*im.padded(t.H*t.W)*t.Channels)
	need("mask head: w1", len(t.W1), 4*t.Up1*t.Channels)
	need("mask head: w2", len(t.W2), 4*t.Up2*t.Up1)
	need("mask head: b1", len(t.B1), 4*t.Up1*im.nr)
	need("mask head: b2", len(t.B2), 4*t.Up2*im.nr)
	need("mask head: gamma", len(t.Gamma), t.Up1)
	need("mask head: beta", len(t.Beta), t.Up1)
	need("mask head: hyper", len(t.Hyper), t.Prompts*t.Masks*t.Up2)
	need("mask head: dst", len(dst), t.Prompts*t.Masks*16*t.H*t.W)
	if t.Skip != nil && len(t.Skip) < t.Prompts {
		panic("kernel: mask head: too few elements of skip")
	}
	k := maskHeadTasks.get()
	*k = maskHeadTask{MaskHead: *t, im: im, dst: dst}
	a := arenas.get()
	n := t.Masks * t.Up2
	a.reset(t.Prompts * n)
	k.hyper = a.take(t.Prompts * n)
	for p := range t.Prompts {
		im.packTiles(k.hyper[p*n:], t.Hyper[p*n:], t.Masks, t.Up2)
	}
	k.panels = (t.H*t.W + im.nr - 1) / im.nr
	run(t.Prompts*k.panels, k)
	arenas.put(a)
	*k = maskHeadTask{}
	maskHeadTasks.put(k)
}

// run does one panel of a prompt's map.
func (t *maskHeadTask) run(i int) {
	im, p, j := t.im, i/t.panels, i%t.panels*t.im.nr
	cells := t.H * t.W
	w := im.panelWidth(cells - j)
	out := t.dst[p*t.Masks*16*cells:]
	skip := t.Skip != nil && t.Skip[p]
	a := arenas.get()
	a.reset((4*t.Up1 + 4*t.Up2 + 16*t.Masks) * im.nr)
	z1, z2, px := a.take(4*t.Up1*im.nr), a.take(4*t.Up2*im.nr), a.take(16*t.Masks*im.nr)
	if !skip {
		t.pixels(p, w, t.X[p*im.padded(cells)*t.Channels+j*t.Channels:], z1, z2, px)
	}
	// px is, for each mask, the four rows' four streams of pixels. The panel's
	// cells lie in one row of the map or more.
	for at, last := j, min(j+w, cells); at < last; {
		y, x := at/t.W, at%t.W
		n := min(t.W-x, last-at)
		for k := range 4 * t.Masks {
			dst := out[(k/4*t.H+y)*16*t.W+k%4*4*t.W+4*x:]
			if skip {
				clear(dst[:4*n])
			} else {
				im.transpose(dst, 4, px[4*k*w+at-j:], w, 4, n)
			}
		}
		at += n
	}
	arenas.put(a)
}

// pixels computes the masks of a panel of cells: px [Masks, 16, w].
func (t *maskHeadTask) pixels(p, w int, panel, z1, z2, px []float32) {
	im := t.im
	im.tiles(4*t.Up1, t.Channels, w, t.W1, panel, z1, t.B1, im.nr)
	for q := range 4 {
		im.normCols(z1[q*t.Up1*w:], t.Gamma, t.Beta, t.Up1, w, t.Eps)
	}
	im.gelu(z1[:4*t.Up1*w], z1)
	hyper := t.hyper[p*t.Masks*t.Up2:]
	for q := range 4 {
		im.tiles(4*t.Up2, t.Up1, w, t.W2, z1[q*t.Up1*w:], z2, t.B2, im.nr)
		im.gelu(z2[:4*t.Up2*w], z2)
		for r := range 4 {
			// Pixel (2*qy+ry, 2*qx+rx) of the cell.
			at := (2*(q/2)+r/2)*4 + 2*(q%2) + r%2
			for k := 0; k < t.Masks; {
				h := im.height(t.Masks - k)
				im.tileOf(h, w)(t.Up2, hyper[k*t.Up2:], h, z2[r*t.Up2*w:], px[(k*16+at)*w:], 16*w, nil, 0)
				k += h
			}
		}
	}
}
