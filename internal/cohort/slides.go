package cohort

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/slidesam/sam/internal/sheet"
	"github.com/slidesam/sam/internal/wsi"
)

// Slide is a line of the sheet.
type Slide struct {
	ID   string // names its folder
	Path string
	MPP  float64 // of level 0; 0: as the file says
	More []Field // the sheet's other columns, in its order
}

// Field is a column's name and a slide's value.
type Field struct{ Name, Value string }

// get returns the value of a column, empty if there is none.
func (s Slide) get(name string) string {
	for _, f := range s.More {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// ReadSheet reads a CSV file, here or in a bucket, with a column slide and, if
// wanted, id and mpp. Slides are found beside the sheet if their paths are relative; an
// id defaults to the name of the slide's file. All other columns go to the table.
func ReadSheet(ctx context.Context, address string) ([]Slide, error) {
	store, err := OpenStore(ctx, wsi.Beside(address, ""))
	if err != nil {
		return nil, err
	}
	var head []string
	var rows [][]string
	if store == nil {
		head, rows, err = sheet.Read(address)
	} else {
		defer store.Close()
		var b bytes.Buffer
		if err = store.Get(ctx, wsi.Name(address), &b); err == nil {
			head, rows, err = sheet.Parse(b.Bytes())
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", wsi.Name(address), err)
		}
	}
	if err != nil {
		return nil, err
	}
	out, err := slidesOf(head, rows, address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", wsi.Name(address), err)
	}
	return out, nil
}

// slidesOf turns the lines of the sheet at an address into slides.
func slidesOf(head []string, rows [][]string, address string) ([]Slide, error) {
	slide, id, mpp := sheet.Column(head, "slide"), sheet.Column(head, "id"), sheet.Column(head, "mpp")
	if slide < 0 {
		return nil, fmt.Errorf("no column slide in %q", head)
	}
	names := map[string]bool{}
	for i, h := range head {
		if names[strings.ToLower(h)] || h == "" && i != slide {
			return nil, fmt.Errorf("column %d is named %q: want a name of its own for each", i+1, h)
		}
		names[strings.ToLower(h)] = true
	}
	var out []Slide
	lines := map[string]int{}
	for n, r := range rows {
		line := n + 2
		s := Slide{Path: strings.TrimSpace(r[slide])}
		if s.Path == "" {
			return nil, fmt.Errorf("line %d has no slide", line)
		}
		base := wsi.Name(strings.TrimRight(s.Path, "/"))
		s.ID = strings.TrimSuffix(base, filepath.Ext(base))
		if id >= 0 && strings.TrimSpace(r[id]) != "" {
			s.ID = strings.TrimSpace(r[id])
		}
		if err := checkID(s.ID); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		key := strings.ToLower(s.ID) // file systems that know no case
		if k, dup := lines[key]; dup {
			return nil, fmt.Errorf("lines %d and %d have the id %s: give each its own in a column id", k, line, s.ID)
		}
		lines[key] = line
		if !filepath.IsAbs(s.Path) && !strings.Contains(s.Path, "://") {
			s.Path = wsi.Beside(address, s.Path)
		}
		if mpp >= 0 && strings.TrimSpace(r[mpp]) != "" {
			v, err := strconv.ParseFloat(strings.TrimSpace(r[mpp]), 64)
			if err != nil || !(v > 0 && v <= 1000) {
				return nil, fmt.Errorf("line %d: mpp %q, want micrometres per pixel, more than 0 and at most 1000", line, r[mpp])
			}
			s.MPP = v
		}
		for i, h := range head {
			if i != slide && i != id && i != mpp {
				s.More = append(s.More, Field{h, r[i]})
			}
		}
		out = append(out, s)
	}
	return out, nil
}

// checkID returns an error unless an id can name a folder everywhere.
func checkID(id string) error {
	bad := strings.ContainsFunc(id, func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune(`/\:*?"<>|`+"\uFFFD", r) })
	if id == "" || len(id) > 120 || bad || strings.HasPrefix(id, ".") || strings.HasSuffix(id, ".") || strings.HasSuffix(id, " ") {
		return fmt.Errorf(`id %q cannot name a folder: want at most 120 bytes without /\:*?"<>| and no dot at its ends`, id)
	}
	return nil
}
