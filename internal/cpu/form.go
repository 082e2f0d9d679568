package cpu

import (
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"github.com/slidesam/sam/internal/graph"
	"github.com/slidesam/sam/internal/kernel"
)

// form is what a program reads in a weight's place. It is kept with its owner
// under its key, for all programs.
type form struct {
	owner   *graph.Weight
	key     string
	make    func(logical []float32) graph.Form // of the owner's values, or
	compute func() ([]float32, error)          // of several weights
}

// formOf makes a value of a form of the weight w.
func formOf(w *value, key string, n int, f func(logical []float32) graph.Form) *value {
	return &value{leaf: graph.LeafWeight, name: w.name, shape: tensor.Shape{n}, form: &form{owner: w.weight, key: key, make: f}}
}

// derived makes a value that is computed from w and another parameter.
func derived(w *value, key string, shape tensor.Shape, f func() ([]float32, error)) *value {
	return &value{leaf: graph.LeafWeight, name: w.name, shape: shape, form: &form{owner: w.weight, key: key, compute: f}}
}

// prepare makes the forms of all values: those of one weight after the other,
// since its values are read for them, those of different weights at a time.
func prepare(order []*value) error {
	var owners []*graph.Weight
	of := map[*graph.Weight][]*value{}
	var later []*value
	for _, v := range order {
		switch f := v.form; {
		case f == nil:
		case f.compute != nil:
			later = append(later, v)
		default:
			if of[f.owner] == nil {
				owners = append(owners, f.owner)
			}
			of[f.owner] = append(of[f.owner], v)
		}
	}
	errs := make([]error, len(owners))
	kernel.Parallel(len(owners), func(i int) {
		for _, v := range of[owners[i]] {
			if v.data, errs[i] = v.form.owner.Form(v.form.key, v.form.make); errs[i] != nil {
				return
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("cpu: prepare: %w", err)
	}
	for _, v := range later {
		var err error
		if v.data, err = v.form.owner.Derived(v.form.key, v.form.compute); err != nil {
			return fmt.Errorf("cpu: prepare: %w", err)
		}
	}
	return nil
}

// packed is the form of an [n, k] weight in which products read it.
func packed(w *value, n, k int) *value {
	return formOf(w, "packed", kernel.PackedLen(n, k), func(v []float32) graph.Form { return packedForm(v, n, k) })
}

// packedAs is packed in the weight's format.
func packedAs(w *value, n, k int) *value {
	switch w.format {
	case graph.Int8:
		return formOf(w, "packed in 8 bits", kernel.Len8(n, k), func(v []float32) graph.Form {
			p := kernel.Pack8(v, n, k)
			return rounded(p.Data(), n*k, p.Unpack)
		})
	case graph.Half:
		return formOf(w, "packed in halves", kernel.LenHalf(n, k), func(v []float32) graph.Form {
			if i := kernel.AboveHalf(v); i >= 0 {
				return graph.Form{Err: fmt.Errorf("element %d is %v: halves end at %v", i, v[i], kernel.MaxHalf)}
			}
			p := kernel.PackHalf(v, n, k)
			return rounded(p.Data(), n*k, p.UnpackHalf)
		})
	}
	return packed(w, n, k)
}

// rounded is a form that gives back the n rounded values, by unpack.
func rounded(data []float32, n int, unpack func(dst []float32)) graph.Form {
	return graph.Form{Data: data, Logical: func() []float32 {
		back := make([]float32, n)
		unpack(back)
		return back
	}}
}

func packedForm(v []float32, n, k int) graph.Form {
	data := kernel.Pack(v, n, k).Data()
	return graph.Form{Data: data, Logical: func() []float32 {
		back := make([]float32, n*k)
		kernel.Unpack(back, data, n, k)
		return back
	}}
}

// packedLast is packed for a convolution's weight [out, in, size, size] in
// the order (y, x, channel).
func packedLast(w *value, out, channels, size int) *value {
	k := channels * size * size
	return formOf(w, "packed channels last", kernel.PackedLen(out, k), func(v []float32) graph.Form {
		f := packedForm(channelsLast(v, out, channels, size*size), out, k)
		last := f.Logical
		f.Logical = func() []float32 { return channelsLast(last(), out, size*size, channels) }
		return f
	})
}

// channelsLast reorders [n, a, b] to [n, b, a].
func channelsLast(w []float32, n, a, b int) []float32 {
	d := make([]float32, len(w))
	for o := range n {
		for i := range a {
			for k := range b {
				d[(o*b+k)*a+i] = w[(o*a+i)*b+k]
			}
		}
	}
	return d
}

// quarters reorders the weight [in, out, 2, 2] of a transposed convolution to
// [4*out, in], its outputs in the order (y, x, channel).
func quarters(w []float32, in, out int) []float32 {
	d := make([]float32, len(w))
	for i := range in {
		for o := range out {
			for q := range 4 {
				d[(q*out+o)*in+i] = w[(i*out+o)*4+q]
			}
		}
	}
	return d
}

// fromQuarters undoes quarters.
func fromQuarters(d []float32, in, out int) []float32 {
	w := make([]float32, len(d))
	for i := range in {
		for o := range out {
			for q := range 4 {
				w[(i*out+o)*4+q] = d[(q*out+o)*in+i]
			}
		}
	}
	return w
}

// packedQuarters are the packed weights of the upper and of the lower row of a
// transposed convolution's 2 x 2 outputs.
func packedQuarters(w *value, channels, out int) *value {
	return formOf(w, "packed quarters", 2*kernel.PackedLen(2*out, channels), func(v []float32) graph.Form {
		return packedQuartersForm(v, channels, out)
	})
}

func packedQuartersForm(v []float32, channels, out int) graph.Form {
	all := quarters(v, channels, out)
	half := len(all) / 2
	data := slices.Concat(kernel.Pack(all[:half], 2*out, channels).Data(), kernel.Pack(all[half:], 2*out, channels).Data())
	return graph.Form{Data: data, Logical: func() []float32 {
		d := make([]float32, len(all))
		kernel.Unpack(d[:half], data[:len(data)/2], 2*out, channels)
		kernel.Unpack(d[half:], data[len(data)/2:], 2*out, channels)
		return fromQuarters(d, channels, out)
	}}
}

// tiledQuarters is a transposed convolution's weight as tiles.
func tiledQuarters(w *value, channels, out int) *value {
	return formOf(w, "tiled quarters", 4*out*channels, func(v []float32) graph.Form {
		return graph.Form{Data: kernel.PackTiles(quarters(v, channels, out), 4*out, channels)}
	})
}

// fourTimes is a bias four times over, each value in lanes places.
func fourTimes(w *value, n, lanes int) *value {
	return formOf(w, fmt.Sprint("four times, lanes ", lanes), 4*n*lanes, func(v []float32) graph.Form {
		data := make([]float32, 0, 4*n*lanes)
		for i := range 4 * n {
			for range lanes {
				data = append(data, v[i%n])
			}
		}
		return graph.Form{Data: data, Logical: func() []float32 {
			back := make([]float32, n)
			for i := range back {
				back[i] = data[i*lanes]
			}
			return back
		}}
	})
}

// inHeads are, for each head, the packed weights that bring a token's query
// or key [hd] to the width c of a map: the head's part of w [heads*hd, c],
// which projects the map, turned over.
func inHeads(w *value, heads, hd, c int) *value {
	return formOf(w, fmt.Sprint("in heads ", heads), heads*kernel.PackedLen(c, hd), func(v []float32) (f graph.Form) {
		for h := range heads {
			f.Data = append(f.Data, kernel.PackKN(v[h*hd*c:(h+1)*hd*c], hd, c).Data()...)
		}
		return f
	})
}

// valueHeads are, for each head, the packed part of the values' projection w
// [heads*hd, c].
func valueHeads(w *value, heads, hd, c int) *value {
	return formOf(w, fmt.Sprint("value heads ", heads), heads*kernel.PackedLen(hd, c), func(v []float32) (f graph.Form) {
		for h := range heads {
			f.Data = append(f.Data, kernel.Pack(v[h*hd*c:(h+1)*hd*c], hd, c).Data()...)
		}
		return f
	})
}

// outHeads are, for each head, the packed part of the output projection w [c,
// heads*hd].
func outHeads(w *value, heads, hd, c int) *value {
	return formOf(w, fmt.Sprint("out heads ", heads), heads*kernel.PackedLen(c, hd), func(v []float32) (f graph.Form) {
		one := make([]float32, c*hd)
		for h := range heads {
			for i := range c {
				copy(one[i*hd:(i+1)*hd], v[(i*heads+h)*hd:])
			}
			f.Data = append(f.Data, kernel.Pack(one, c, hd).Data()...)
		}
		return f
	})
}

// projected is the projection of the parameter p by w [n, k], without a bias.
func projected(w, p *value, n, k int) *value {
	p = p.clone()
	pack := packed(w, n, k)
	rows := p.shape.TotalSize() / k
	return derived(w, "projects "+p.expression(), tensor.Shape{rows, n}, func() ([]float32, error) {
		x, err := p.compute()
		if err != nil {
			return nil, err
		}
		data, err := w.weight.Form(pack.form.key, pack.form.make)
		if err != nil {
			return nil, err
		}
		at := kernel.PackedOf(data, n, k)
		y := make([]float32, rows*n)
		kernel.Gemm(y, n, x, k, rows, &at, kernel.Epilogue{})
		return y, nil
	})
}

// projectedPanels is the projection of the parameter p by w [n, k] and the
// bias, in panels.
func projectedPanels(w, bias, p *value, n, k int) *value {
	sum := projected(w, p, n, k)
	rows := sum.shape[0]
	key := fmt.Sprintf("%s, bias %s, in panels", sum.form.key, bias.expression())
	bias = bias.clone()
	return derived(w, key, tensor.Shape{kernel.PackedLen(rows, 1), n}, func() ([]float32, error) {
		x, err := w.weight.Derived(sum.form.key, sum.form.compute)
		if err != nil {
			return nil, err
		}
		b, err := bias.compute()
		if err != nil {
			return nil, err
		}
		with := make([]float32, len(x))
		for i, v := range x {
			with[i] = v + b[i%n]
		}
		data := make([]float32, kernel.PackedLen(rows, n))
		kernel.PackPanels(data, with, rows, n)
		return data, nil
	})
}
