package segment

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/slidesam/sam"
	"github.com/slidesam/sam/internal/regular"
)

// prompt is one object to segment, as the JSON file has it.
type prompt struct {
	Name   string      `json:"name"`
	Points [][]float64 `json:"points"` // x, y, label
	Box    []float64   `json:"box"`    // x0, y0, x1, y1
	Single bool        `json:"single"`
}

func (p prompt) sam() sam.Prompt {
	var out sam.Prompt
	for _, pt := range p.Points {
		out.Points = append(out.Points, sam.Point{X: pt[0], Y: pt[1], Label: sam.Label(pt[2])})
	}
	if b := p.Box; b != nil {
		out.Box = &sam.Box{X0: b[0], Y0: b[1], X1: b[2], Y1: b[3]}
	}
	return out
}

// check returns an error for what the library's own checks cannot see.
func (p prompt) check() error {
	if len(p.Points) == 0 && p.Box == nil {
		return errors.New("neither points nor a box")
	}
	if p.Box != nil && len(p.Box) != 4 {
		return fmt.Errorf("box of %d numbers, want [x0, y0, x1, y1]", len(p.Box))
	}
	if b := p.Box; b != nil && !(b[0] < b[2] && b[1] < b[3]) { // NaN too
		return fmt.Errorf("box %g,%g,%g,%g has no area, want the upper left corner, then the lower right one", b[0], b[1], b[2], b[3])
	}
	for _, pt := range p.Points {
		if len(pt) != 3 {
			return fmt.Errorf("point of %d numbers, want [x, y, label]", len(pt))
		}
		if pt[2] != 0 && pt[2] != 1 {
			return fmt.Errorf("label %g of point (%g, %g), want 1 (inside) or 0 (outside)", pt[2], pt[0], pt[1])
		}
	}
	return nil
}

// maxPrompts is the size of a prompt file that is read, in bytes.
const maxPrompts = 64 << 20

func readPrompts(path string) ([]prompt, error) {
	f, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return parsePrompts(io.LimitReader(f, maxPrompts))
}

func parsePrompts(r io.Reader) ([]prompt, error) {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	var ps []prompt
	if err := d.Decode(&ps); err != nil {
		return nil, fmt.Errorf("prompts: want a list like [{\"points\": [[x, y, label]], \"box\": [x0, y0, x1, y1]}]: %w", err)
	}
	if len(ps) == 0 {
		return nil, errors.New("prompts: the list is empty")
	}
	for i, p := range ps {
		if err := p.check(); err != nil {
			return nil, fmt.Errorf("prompts: prompt %d: %w", i, err)
		}
	}
	return ps, nil
}

// promptFlag adds a prompt for each -point or -box.
type promptFlag struct {
	list *[]prompt
	box  bool
}

func (promptFlag) String() string { return "" }

func (f promptFlag) Set(s string) error {
	parts := strings.Split(s, ",")
	var v []float64
	for _, p := range parts {
		x, err := strconv.ParseFloat(strings.TrimSpace(p), 64)
		if err != nil {
			return fmt.Errorf("%q is no number", p)
		}
		v = append(v, x)
	}
	switch {
	case f.box && len(v) == 4:
		if err := (prompt{Box: v}).check(); err != nil {
			return err
		}
		*f.list = append(*f.list, prompt{Box: v})
	case !f.box && len(v) == 2:
		*f.list = append(*f.list, prompt{Points: [][]float64{{v[0], v[1], 1}}})
	case f.box:
		return fmt.Errorf("want x0,y0,x1,y1")
	default:
		return fmt.Errorf("want x,y")
	}
	return nil
}
