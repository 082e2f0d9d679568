package synth

import (
	"image"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
)

// nucleiMPP is the coarsest scale at which nuclei are drawn and labelled one
// by one. Beyond it they are a tint.
const nucleiMPP = 4.0

// Region draws the w x h pixels whose first pixel is (x, y), at any scale.
//
// x, y, w and h count pixels of mpp micrometres; places off the slide are
// glass. Neighbouring regions of one scale join without a seam. The memory
// used grows with w*h alone, apart from some hundred bytes per nucleus.
func (s *Slide) Region(x, y, w, h int, mpp float64) (*image.RGBA, *Truth) {
	w, h = max(w, 0), max(h, 0)
	pad := int(math.Ceil(3*math.Hypot(s.st.blur/mpp, 0.3))) + 1
	c := &canvas{w: w + 2*pad, h: h + 2*pad, pad: pad, x0: x - pad, y0: y - pad, mpp: mpp}
	n := c.w * c.h
	c.hem, c.eos = make([]float32, n), make([]float32, n)
	c.nuclei, c.gland = make([]int32, n), make([]int32, n)
	c.tumour, c.tissue = make([]bool, n), make([]bool, n)
	bx0, by0 := float64(c.x0)*mpp, float64(c.y0)*mpp
	bx1, by1 := bx0+float64(c.w)*mpp, by0+float64(c.h)*mpp

	m := 0.0
	if mpp <= nucleiMPP {
		m = maxNucleus + pairReach
	}
	glands, vessels := s.rings(bx0-m, by0-m, bx1+m, by1+m)
	s.paintGround(c)
	for i := range vessels {
		s.paintVessel(c, &vessels[i])
	}
	for i := range glands {
		s.paintGland(c, &glands[i], int32(i+1))
	}
	var ns []nucleus
	if mpp <= nucleiMPP {
		ns = s.nuclei(bx0, by0, bx1, by1, glands, vessels)
		for i := range ns {
			s.paintNucleus(c, &ns[i], int32(i+1))
		}
	} else {
		s.tintNuclei(c)
	}
	if s.o.Artefacts {
		s.paintArtefacts(c)
	}
	img := s.develop(c)
	return img, c.truth(ns)
}

// truth crops the canvas's maps and numbers what is visible from 1 on.
func (c *canvas) truth(ns []nucleus) *Truth {
	w, h := c.w-2*c.pad, c.h-2*c.pad
	t := &Truth{W: w, H: h, Nuclei: make([]int32, w*h), Glands: make([]int32, w*h), Tumour: make([]bool, w*h), Tissue: make([]bool, w*h)}
	nums, gnums := make([]int32, len(ns)+1), map[int32]int32{}
	for y := range h {
		for x := range w {
			i, o := (y+c.pad)*c.w+x+c.pad, y*w+x
			t.Tumour[o], t.Tissue[o] = c.tumour[i], c.tissue[i]
			if k := c.nuclei[i]; k > 0 {
				if nums[k] == 0 {
					n := &ns[k-1]
					t.List = append(t.List, Nucleus{ID: n.id, Kind: n.kind,
						X: n.x/c.mpp - float64(c.x0+c.pad), Y: n.y/c.mpp - float64(c.y0+c.pad)})
					nums[k] = int32(len(t.List))
				}
				t.Nuclei[o] = nums[k]
				t.List[nums[k]-1].Area++
			}
			if k := c.gland[i]; k > 0 {
				if gnums[k] == 0 {
					gnums[k] = int32(len(gnums) + 1)
				}
				t.Glands[o] = gnums[k]
			}
		}
	}
	t.GlandN = len(gnums)
	return t
}

// parallel runs f(0..n-1) on all cores. The result must not depend on order.
func parallel(n int, f func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var wg sync.WaitGroup
	var next atomic.Int64
	for range workers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				f(i)
			}
		}()
	}
	wg.Wait()
}
