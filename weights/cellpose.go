package weights

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// OpenCellpose reads the headers of a Cellpose-SAM model (cpsam, Cellpose 4),
// as Open does. The tensors have the names that [Cellpose] gives them.
func OpenCellpose(path string) (*Checkpoint, error) { return openFile(path, cellposeOf) }

// Cellpose gives the tensors of a Cellpose-SAM state dict the names of its
// network: the encoder's under "image_encoder", as Segment Anything's are, and
// the readout's, "readout.weight" [Maps*P*P, C, 1, 1] and "readout.bias"; P is
// the side of a patch.
//
// The network attends to the whole picture in every block, so that all tables
// of relative positions are brought to its grid, as its attention does in each
// run. The matrix W2 between the readout and the pixels, an identity in the
// released model, is multiplied into the readout.
//
// Errors wrap ErrFormat. c must stay open as long as the result is used.
//
// Source: vit.py, CPSAM (cellpose 4.2.1.1); image_encoder.py, get_rel_pos
// (segment-anything dca509f).
func Cellpose(c *Checkpoint) (*Checkpoint, error) {
	copied := make(map[string]*Tensor, len(c.tensors))
	for name, t := range c.tensors {
		copied[name] = &Tensor{Name: t.Name, Shape: t.Shape, DType: t.DType, src: t.src}
	}
	out, err := cellposeOf(copied, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("weights: cellpose: %w", formatError{err})
	}
	return out, nil
}

// cellposeOf gives the tensors of a Cellpose-SAM their network's names.
func cellposeOf(tensors map[string]*Tensor, opaque map[string]string, file *mapping) (*Checkpoint, error) {
	in := map[string]*Tensor{}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		key := strings.TrimPrefix(name, "module.")
		if _, ok := in[key]; ok {
			return nil, fmt.Errorf("two tensors named %s", key)
		}
		in[key] = tensors[name]
	}
	if err := refuseOtherCellpose(in, opaque); err != nil {
		return nil, err
	}
	out := map[string]*Tensor{}
	add := func(name string, t *Tensor) {
		t.Name = name
		out[name] = t
	}
	pos := in["encoder.pos_embed"].Shape
	if len(pos) != 4 || pos[1] != pos[2] || pos[1] < 1 || pos[1] > 1<<10 {
		return nil, fmt.Errorf("encoder.pos_embed: shape %v, want [1 grid grid width]", pos)
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		t := in[name]
		rest, ok := strings.CutPrefix(name, "encoder.")
		switch {
		case name == "diam_mean" || name == "diam_labels" || name == "W2" || name == "out.weight" || name == "out.bias":
		case !ok:
			add(name, t) // for Bind to say
		case strings.HasSuffix(name, ".rel_pos_h") || strings.HasSuffix(name, ".rel_pos_w"):
			if len(t.Shape) != 2 || t.Shape[0] < 1 || t.Shape[0] > 1<<12 || t.Shape[1] > 1<<12 {
				return nil, fmt.Errorf("%s: shape %v, want [rows channels]", name, t.Shape)
			}
			if rows := 2*pos[1] - 1; t.Shape[0] != rows {
				t.src, t.Shape = interpolated{t.src, slices.Clone(t.Shape), rows}, []int{rows, t.Shape[1]}
			}
			add("image_encoder."+rest, t)
		default:
			add("image_encoder."+rest, t)
		}
	}
	w, b, w2 := in["out.weight"], in["out.bias"], in["W2"]
	if len(w2.Shape) != 4 || w2.Shape[2] != w2.Shape[3] || w2.Len() != w2.Shape[0]*w2.Shape[0] || w2.Shape[0] > 1<<12 {
		return nil, fmt.Errorf("W2: shape %v, want [maps*patch*patch maps patch patch]", w2.Shape)
	}
	n := w2.Shape[0]
	if len(w.Shape) != 4 || w.Shape[0] != n || w.Len() != n*w.Shape[1] || !slices.Equal(b.Shape, []int{n}) {
		return nil, fmt.Errorf("out.weight and out.bias: shapes %v and %v, want [%d channels 1 1] and [%[3]d]", w.Shape, b.Shape, n)
	}
	add("readout.weight", &Tensor{Shape: w.Shape, DType: w.DType, src: product{w2, w}})
	add("readout.bias", &Tensor{Shape: b.Shape, DType: b.DType, src: product{w2, b}})
	return newCheckpoint(out, Original, file), nil
}

// refuseOtherCellpose names the files that are no Cellpose-SAM, and makes sure
// of the tensors that cellposeOf reads.
func refuseOtherCellpose(in map[string]*Tensor, opaque map[string]string) error {
	switch {
	case in["encoder.cls_token"] != nil || in["encoder.rope_embed.periods"] != nil:
		return errors.New("a Cellpose model on DINOv3 (cpdino), whose network is another: use Cellpose-SAM (cpsam, cpsam_v2)")
	case in["W2"] == nil && in["diam_mean"] != nil:
		return errors.New("a Cellpose model of a version before 4, a U-Net: use Cellpose-SAM (cpsam, cpsam_v2)")
	}
	if key, class := wholeModule(opaque); class != "" {
		return fmt.Errorf("a whole Python object of %.80q under %.80q, not a state dict: save its state_dict()", class, key)
	}
	for _, name := range []string{"W2", "out.weight", "out.bias", "encoder.pos_embed", "encoder.patch_embed.proj.weight"} {
		if in[name] == nil {
			return fmt.Errorf("no Cellpose-SAM model: it has no tensor %s", name)
		}
	}
	return nil
}

// interpolated is a table [shape[0], C] brought to another number of rows.
type interpolated struct {
	of    source
	shape []int
	rows  int
}

// float32s interpolates linearly between the centres of rows, as torch's
// interpolate(mode="linear") does, in float32.
func (p interpolated) float32s() ([]float32, error) {
	x, err := p.of.float32s()
	if err != nil {
		return nil, err
	}
	n, c := p.shape[0], p.shape[1]
	out := make([]float32, p.rows*c)
	scale := float32(n) / float32(p.rows)
	for i := range p.rows {
		at := max(float32(scale*(float32(i)+0.5))-0.5, 0)
		lo := min(int(at), n-1)
		hi := min(lo+1, n-1)
		t := min(at-float32(lo), 1)
		for k := range c {
			out[i*c+k] = float32((1-t)*x[lo*c+k]) + float32(t*x[hi*c+k])
		}
	}
	return out, nil
}

func (p interpolated) release() { p.of.release() }

// product is aᵀ·x of a [N, ...] seen as [N, N] and x [N, ...].
type product struct{ a, x *Tensor }

func (p product) float32s() ([]float32, error) {
	a, err := p.a.values()
	if err != nil {
		return nil, err
	}
	x, err := p.x.values()
	if err != nil {
		return nil, err
	}
	n := p.a.Shape[0]
	m := len(x) / max(n, 1)
	out := make([]float32, len(x))
	line := make([]float64, m)
	for i := range n {
		clear(line)
		for k := range n {
			if s := float64(a[k*n+i]); s != 0 {
				for j, v := range x[k*m:][:m] {
					line[j] += float64(s * float64(v))
				}
			}
		}
		for j, v := range line {
			out[i*m+j] = float32(v)
		}
	}
	return out, nil
}

func (p product) release() {
	p.a.Release()
	p.x.Release()
}
