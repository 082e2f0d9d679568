package cohort

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/slidesam/sam/internal/regular"
	"github.com/slidesam/sam/internal/wsi"
)

// Status says how far a slide is.
type Status string

// The states of a slide.
const (
	Done       Status = "done"
	Partial    Status = "partial"    // done, but for tiles of the slide that could not be read
	Failed     Status = "failed"     // it will be tried again
	Unfinished Status = "unfinished" // not begun, or parts are missing
)

// Record is what is known of a slide: the content of slide.json, or of
// failed.json if it failed. It holds no times, so that every attempt gives the same bytes.
type Record struct {
	ID      string  `json:"id"`
	Slide   string  `json:"slide"` // the name of its file
	MPP     float64 `json:"sheet_mpp,omitempty"`
	Bytes   int64   `json:"bytes,omitempty"` // of its file, if it is one
	Status  Status  `json:"status"`
	Reason  string  `json:"reason,omitempty"`
	W       int     `json:"width,omitempty"`
	H       int     `json:"height,omitempty"`
	OwnMPP  float64 `json:"mpp,omitempty"`
	Format  string  `json:"format,omitempty"`
	Tissue  float64 `json:"tissue_mm2,omitempty"`
	Tiles   int     `json:"tiles,omitempty"`
	Missing int     `json:"missing_tiles,omitempty"`
	Objects int     `json:"objects"`
	Classes []Class `json:"classes,omitempty"` // the first is all objects
}

// maxRecord bounds slide.json, in bytes.
const maxRecord = 1 << 24

// done reports whether nothing is left to do.
func (r *Record) done() bool { return r.Status == Done || r.Status == Partial }

// newRecord returns a record of a slide that nothing is known of.
func newRecord(s Slide) *Record {
	r := &Record{ID: s.ID, Slide: wsi.Name(s.Path), MPP: s.MPP, Status: Unfinished}
	if info, err := os.Stat(s.Path); err == nil && info.Mode().IsRegular() {
		r.Bytes = info.Size()
	}
	return r
}

// record returns what is known of a slide: that it is done, or else that it
// failed. If the slide's file is another one by now, nothing is known.
func (c *Cohort) record(s Slide) (*Record, error) {
	now := newRecord(s)
	for _, name := range []string{recordFile, failureFile} {
		path := filepath.Join(c.folder(s), name)
		b, err := regular.ReadFile(path, maxRecord)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		r, err := parseRecord(b)
		if err != nil {
			return nil, fmt.Errorf("%s: %w: remove it, and the slide is done again", path, err)
		}
		if r.ID == now.ID && r.Slide == now.Slide && r.MPP == now.MPP && (now.Bytes == 0 || r.Bytes == now.Bytes) {
			return r, nil
		}
	}
	return now, nil
}

func parseRecord(b []byte) (*Record, error) {
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return nil, err
	}
	switch r.Status {
	case Done, Partial:
		if len(r.Classes) == 0 {
			return nil, errors.New("no counts")
		}
	case Failed, Unfinished:
	default:
		return nil, fmt.Errorf("status %q", r.Status)
	}
	return &r, nil
}

// keep writes a record. Failures have a file of their own, so that one never
// replaces what another attempt did meanwhile.
func (c *Cohort) keep(s Slide, r *Record) error {
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.folder(s), 0o777); err != nil {
		return err
	}
	failure := filepath.Join(c.folder(s), failureFile)
	if !r.done() {
		return writeFile(failure, append(b, '\n'))
	}
	if err := writeFile(filepath.Join(c.folder(s), recordFile), append(b, '\n')); err != nil {
		return err
	}
	if err := os.Remove(failure); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// fail keeps why a slide failed.
func (c *Cohort) fail(s Slide, reason error) error {
	r := newRecord(s)
	r.Status = Failed
	// The folder of the slide, and the cohort's, may differ between machines.
	text := strings.ReplaceAll(reason.Error(), s.Path, wsi.Name(s.Path))
	r.Reason = strings.Join(strings.Fields(strings.ReplaceAll(text, c.folder(s), s.ID)), " ")
	return c.keep(s, r)
}
