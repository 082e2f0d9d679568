package train

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io"

	"github.com/slidesam/sam/internal/mask"
	"github.com/slidesam/sam/internal/picture"
	"github.com/slidesam/sam/internal/resample"
)

// Embed makes a picture's embedding, or what adapters read in its place, and
// says which part of the encoder's frame the picture fills. It may change the
// picture.
type Embed func(ctx context.Context, p resample.RGB) (embedding []float32, input mask.Size, err error)

// Turned embeds the field's picture, turned.
func (e Embed) Turned(ctx context.Context, f *Field, t Turn) ([]float32, mask.Size, error) {
	src, err := picture.New(f.Image)
	if err != nil {
		return nil, mask.Size{}, err
	}
	return e(ctx, t.Picture(src.RGB()))
}

// Views returns the field's views in so many turns, and those of its objects
// that are held back as the picture is. Masks have cells x cells cells over the
// encoder's frame of side x side pixels. done is told of each turn.
func (f *Field) Views(ctx context.Context, e Embed, held []int, turns, side, cells int, done func()) (learn, measure []View, err error) {
	for k := range Turn(turns) {
		if len(f.Objects) == 0 {
			done()
			continue
		}
		features, input, err := e.Turned(ctx, f, k)
		if err != nil {
			return nil, nil, err
		}
		l, m := Frame{Turn: k, Picture: f.Picture, Input: input, Cell: float64(side) / float64(cells), Side: cells}.Targets(f.Objects, held)
		if len(l) > 0 {
			learn = append(learn, View{Embedding: features, Targets: l})
		}
		if k == 0 && len(m) > 0 {
			measure = append(measure, View{Embedding: features, Targets: m})
		}
		done()
	}
	return learn, measure, nil
}

// Identity tells what a run learns from, and how: options are all that decide
// the result.
func Identity(from [16]byte, options string, learn, measure []View) string {
	id := sha256.New() // which never fails
	id.Write(from[:])
	_, _ = io.WriteString(id, options)
	for _, views := range [][]View{learn, measure} {
		for _, v := range views {
			_ = binary.Write(id, binary.LittleEndian, v.Embedding)
			for _, x := range v.Targets {
				_ = binary.Write(id, binary.LittleEndian, x.Box[:])
				_ = binary.Write(id, binary.LittleEndian, x.Share)
				_ = binary.Write(id, binary.LittleEndian, x.Window.Share)
			}
		}
	}
	return hex.EncodeToString(id.Sum(nil))
}
