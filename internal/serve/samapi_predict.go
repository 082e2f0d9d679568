package serve

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"image"
	"math"
	"net/http"
	"slices"

	"github.com/google/uuid"
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/picture"
)

// samBody is what POST /sam/ asks for. Numbers may have a fraction, which is
// dropped as samapi drops it.
type samBody struct {
	Type          *string     `json:"type"`
	BBox          []float64   `json:"bbox"`
	PointCoords   [][]float64 `json:"point_coords"`
	PointLabels   []float64   `json:"point_labels"`
	B64Img        string      `json:"b64img"`
	B64Mask       *string     `json:"b64mask"`
	Multimask     bool        `json:"multimask_output"`
	CheckpointURL *string     `json:"checkpoint_url"`
}

// prompt returns the prompt in a picture of the given size, and whether there
// is anything in it to look for. What lies outside is moved to the edge: the
// client sends rectangles that stick out of its view.
func (b *samBody) prompt(size sam.Size, most int) (p sam.Prompt, ok bool, err error) {
	if b.B64Mask != nil {
		return p, false, refuse(http.StatusUnprocessableEntity, "b64mask is not supported: no client sends it, and samapi fails on it")
	}
	if len(b.PointCoords) != len(b.PointLabels) {
		return p, false, refuse(http.StatusUnprocessableEntity, "%d point_coords and %d point_labels, want as many", len(b.PointCoords), len(b.PointLabels))
	}
	if len(b.PointCoords) > most {
		return p, false, refuse(http.StatusUnprocessableEntity, "%d points, want at most %d", len(b.PointCoords), most)
	}
	for i, c := range b.PointCoords {
		if len(c) != 2 {
			return p, false, refuse(http.StatusUnprocessableEntity, "point_coords %d has %d numbers, want x and y", i, len(c))
		}
		l := b.PointLabels[i]
		if l != 0 && l != 1 {
			return p, false, refuse(http.StatusUnprocessableEntity, "point_labels %d is %g, want 1 or 0", i, l)
		}
		ok = ok || l == 1
		p.Points = append(p.Points, sam.Point{X: clamp(math.Trunc(c[0]), size.W-1), Y: clamp(math.Trunc(c[1]), size.H-1), Label: sam.Label(l)})
	}
	if b.BBox == nil {
		return p, ok, nil
	}
	if len(b.BBox) != 4 {
		return p, false, refuse(http.StatusUnprocessableEntity, "bbox has %d numbers, want x1, y1, x2, y2", len(b.BBox))
	}
	v := [4]float64{}
	for i, side := range []int{size.W, size.H, size.W, size.H} {
		v[i] = clamp(math.Trunc(b.BBox[i]), side)
	}
	box := sam.Box{X0: min(v[0], v[2]), Y0: min(v[1], v[3]), X1: max(v[0], v[2]), Y1: max(v[1], v[3])}
	if box.X0 < box.X1 && box.Y0 < box.Y1 {
		p.Box, ok = &box, true
	}
	return p, ok, nil
}

// clamp moves v into 0 to most. JSON has no NaN.
func clamp(v float64, most int) float64 { return min(max(v, 0), float64(most)) }

func (s *Server) samPredict(w http.ResponseWriter, r *http.Request) error {
	var b samBody
	leave, err := s.readJSON(r, s.c.MaxBody, &b)
	if err != nil {
		return err
	}
	defer leave()
	m, name, err := s.models.model(r.Context(), deref(b.Type), deref(b.CheckpointURL))
	if err != nil {
		return err
	}
	img, err := decodePicture(r.Context(), b.B64Img, s.c.MaxPixels)
	if err != nil {
		return err
	}
	size := sam.Size{H: img.Bounds().Dy(), W: img.Bounds().Dx()}
	p, ok, err := b.prompt(size, s.c.MaxPrompts)
	if err != nil {
		return err
	}
	if !ok { // a prompt outside the view, or the background alone
		writeJSON(w, http.StatusOK, []int{})
		return nil
	}
	e, err := s.embedPicture(r.Context(), m, img)
	if err != nil {
		return err
	}
	out, err := s.predict(r.Context(), m, e, p, sam.PredictOptions{SingleMask: !b.Multimask, Local: s.localFor(m)})
	if err != nil {
		return err
	}
	var fs []*geojson.Feature
	for i, mask := range out.Masks {
		if f := samFeature(mask, out.IoUPred[i], deref(b.Type), name); f != nil {
			fs = append(fs, f)
		}
	}
	return writeFeatures(w, fs)
}

// localFor reports whether masks are cut to what their prompt is on. The
// bundled model needs it; others' masks are left as the original gives them.
func (s *Server) localFor(m *sam.Model) bool { return s.models.bundled && m == s.models.own }

// embedPicture returns the embedding of a picture, from the shelf if an equal
// one was seen.
func (s *Server) embedPicture(ctx context.Context, m *sam.Model, img image.Image) (*sam.Embedding, error) {
	rgb, err := toRGBA(img)
	if err != nil {
		return nil, refuse(http.StatusUnprocessableEntity, "b64img cannot be used: %v", err)
	}
	h := sha256.New()
	var dims [16]byte
	binary.LittleEndian.PutUint64(dims[:], uint64(rgb.Rect.Dx()))
	binary.LittleEndian.PutUint64(dims[8:], uint64(rgb.Rect.Dy()))
	h.Write(dims[:])
	h.Write(rgb.Pix)
	return s.embed(ctx, m, hex.EncodeToString(h.Sum(nil)), func(context.Context) (image.Image, error) { return rgb, nil })
}

// embed returns the embedding of the picture of a key.
func (s *Server) embed(ctx context.Context, m *sam.Model, key string, open func(context.Context) (image.Image, error)) (*sam.Embedding, error) {
	return s.embeddings.get(ctx, fingerprint(m)+" "+key, func(ctx context.Context) (*sam.Embedding, error) {
		leave, err := s.encode.enter(ctx, 1)
		if err != nil {
			return nil, err
		}
		defer leave()
		img, err := open(ctx)
		if err != nil {
			return nil, err
		}
		s.encoded.Add(1)
		return m.Embed(ctx, img)
	})
}

// predict decodes a prompt when it is its turn.
func (s *Server) predict(ctx context.Context, m *sam.Model, e *sam.Embedding, p sam.Prompt, o sam.PredictOptions) (*sam.Prediction, error) {
	leave, err := s.decode.enter(ctx, 1)
	if err != nil {
		return nil, err
	}
	defer leave()
	return m.Predict(ctx, e, p, o)
}

// toRGBA returns a picture as Pillow's convert("RGB") makes it, opaque.
func toRGBA(img image.Image) (*image.RGBA, error) {
	p, err := picture.New(img)
	if err != nil {
		return nil, err
	}
	size := p.Bounds()
	out := image.NewRGBA(image.Rect(0, 0, size.W, size.H))
	row := make([]byte, 3*size.W)
	for y := range size.H {
		row = p.Row(y, row)
		dst := out.Pix[y*out.Stride:]
		for x := range size.W {
			dst[4*x], dst[4*x+1], dst[4*x+2], dst[4*x+3] = row[3*x], row[3*x+1], row[3*x+2], 255
		}
	}
	return out, nil
}

// samFeature is a mask as samapi's clients read it, nil if it is empty. It has
// no object_idx, which the extension would take for the name of a class.
func samFeature(mask *sam.Mask, quality float32, kind, name string) *geojson.Feature {
	g := mask.Geometry(sam.Frame{})
	if g == nil {
		return nil
	}
	f := newFeature(g)
	f.Properties["label"], f.Properties["quality"] = "object", quality
	f.Properties["sam_model"], f.Properties["checkpoint"] = kind, name
	return f
}

// newFeature is an annotation of QuPath's with an id of its own.
func newFeature(g orb.Geometry) *geojson.Feature {
	f := geojson.NewFeature(g)
	f.ID = uuid.NewString()
	f.Properties["objectType"] = string(sam.Annotation)
	return f
}

func writeFeatures(w http.ResponseWriter, fs []*geojson.Feature) error {
	if fs == nil {
		fs = []*geojson.Feature{}
	}
	writeJSON(w, http.StatusOK, slices.Clip(fs))
	return nil
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
