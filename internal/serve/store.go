package serve

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/geojson"
	"github.com/slidesam/sam/internal/regular"
)

const (
	maxAnnotations = 1_000_000 // of a slide
	maxUndo        = 500       // edits that can be undone
	maxFile        = 2 << 30   // bytes of a GeoJSON file that is read
	flushDelay     = 300 * time.Millisecond
)

// edit is one change: features that came and features that went.
type edit struct {
	Add    []json.RawMessage `json:"add,omitempty"`
	Remove []json.RawMessage `json:"remove,omitempty"`
}

// entry is a line of the history: an edit, or one undone or done again.
type entry struct {
	N    int64  `json:"n"`
	Kind string `json:"kind"` // edit, undo, redo; saved: the file goes up to here
	edit
}

// store holds the annotations of a slide: a GeoJSON file that QuPath opens,
// and beside it the history of edits. An edit is acknowledged when its line of
// the history is on the disk; the GeoJSON file follows soon after, whole, and
// says up to which edit it goes. What a killed process left out of it is done
// again from the history.
type store struct {
	path string
	fail func(error) // told of a file that could not be written

	mu      sync.Mutex
	have    map[string]*annotation
	order   []*annotation // as they came; those that have does not hold are gone
	undo    []edit
	redo    []edit
	last    int64  // number of the last line of the history
	written int64  // that the GeoJSON file goes up to
	pending []edit // that the file does not have
	seen    fileStamp
	history *os.File
	timer   *time.Timer
	closed  bool
}

// fileStamp tells whether another program wrote the file.
type fileStamp struct {
	size  int64
	mtime time.Time
}

func stampOf(path string) (fileStamp, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return fileStamp{}, nil
	}
	if err != nil {
		return fileStamp{}, err
	}
	if !info.Mode().IsRegular() { // a link may lead anywhere
		return fileStamp{}, refuse(http.StatusForbidden, "the file of annotations is not a regular file")
	}
	return fileStamp{info.Size(), info.ModTime()}, nil
}

// openStore reads the annotations at path.
func openStore(path string, fail func(error)) (*store, error) {
	s := &store{path: path, fail: fail}
	if _, err := stampOf(s.historyPath()); err != nil {
		return nil, err
	}
	if err := s.load(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *store) historyPath() string { return s.path + ".history" }

// load reads the file, then what the history has beyond it. A file that
// another program wrote says nothing about the history: it has at least what
// was saved last.
func (s *store) load() error {
	lines, err := readHistory(s.historyPath())
	if err != nil {
		return err
	}
	upto, err := s.loadFile()
	if err != nil {
		return err
	}
	if upto < 0 {
		upto = 0
		for _, e := range lines {
			if e.Kind == "saved" && s.seen != (fileStamp{}) {
				upto = e.N
			}
		}
	}
	for _, e := range lines {
		if err := s.replay(e, e.N > upto); err != nil {
			return err
		}
	}
	s.written = upto
	s.last = max(s.last, upto)
	if s.last > upto {
		if err := s.flush(); err != nil {
			return err
		}
	}
	if len(lines) > 4*maxUndo {
		return s.compact()
	}
	return nil
}

// loadFile reads the GeoJSON file and returns the number of the edit that it
// goes up to, -1 if another program wrote it.
func (s *store) loadFile() (upto int64, err error) {
	s.have, s.order = map[string]*annotation{}, nil
	if s.seen, err = stampOf(s.path); err != nil || s.seen == (fileStamp{}) {
		return -1, err
	}
	if s.seen.size > maxFile {
		return 0, refuse(http.StatusUnprocessableEntity, "the file of annotations has over %d bytes", maxFile)
	}
	f, err := regular.Open(s.path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	read := geojson.NewScanner(f)
	for i := 0; read.Scan(); i++ {
		a, err := parseAnnotation(read.Bytes())
		if err != nil {
			return 0, refuse(http.StatusConflict, "the file of annotations beside the slide has a feature that cannot be used, number %d: %v", i, err)
		}
		if a.id == "" {
			if err := a.setID(uuid.NewSHA1(uuid.NameSpaceOID, fmt.Append(nil, i, " ", string(a.raw))).String()); err != nil {
				return 0, err
			}
		}
		if s.put(a); len(s.have) > maxAnnotations {
			return 0, refuse(http.StatusConflict, "the file of annotations has over %d features", maxAnnotations)
		}
	}
	if err := read.Err(); err != nil {
		return 0, refuse(http.StatusConflict, "the file of annotations beside the slide is not GeoJSON (%v); move it away", err)
	}
	var own *struct {
		Edit int64 `json:"edit"`
	}
	if raw := read.Member("slidesam"); raw != nil {
		if err := json.Unmarshal(raw, &own); err != nil {
			return 0, refuse(http.StatusConflict, "the file of annotations beside the slide has a member slidesam that is not this program's; move it away")
		}
	}
	if own == nil {
		return -1, nil
	}
	return own.Edit, nil
}

func (s *store) put(a *annotation) {
	s.order = append(s.order, a)
	s.have[a.id] = a
}

// each yields the annotations in the order they came.
func (s *store) each(yield func(*annotation) bool) {
	for _, a := range s.order {
		if s.have[a.id] == a && !yield(a) {
			return
		}
	}
}

// readHistory reads whole lines. The last one may be torn: it was never
// acknowledged.
func readHistory(path string) ([]entry, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var out []entry
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, err
		}
		var e entry
		if json.Unmarshal(line, &e) != nil {
			return out, nil
		}
		out = append(out, e)
	}
}

// replay puts an entry on the stacks, and its change on the features if
// wanted.
func (s *store) replay(e entry, change bool) error {
	d := e.edit
	switch e.Kind {
	case "saved":
		return nil
	case "edit":
		s.undo, s.redo = append(s.undo, d), nil
	case "undo":
		if len(s.undo) == 0 {
			return nil
		}
		d = s.undo[len(s.undo)-1]
		s.undo, s.redo = s.undo[:len(s.undo)-1], append(s.redo, d)
		d = edit{Add: d.Remove, Remove: d.Add}
	case "redo":
		if len(s.redo) == 0 {
			return nil
		}
		d = s.redo[len(s.redo)-1]
		s.undo, s.redo = append(s.undo, d), s.redo[:len(s.redo)-1]
	}
	if len(s.undo) > maxUndo {
		s.undo = s.undo[len(s.undo)-maxUndo:]
	}
	s.last = e.N
	if !change {
		return nil
	}
	return s.change(d)
}

// change changes the features.
func (s *store) change(d edit) error {
	for _, raw := range d.Remove {
		a, err := parseAnnotation(raw)
		if err != nil {
			return err
		}
		delete(s.have, a.id)
	}
	for _, raw := range d.Add {
		a, err := parseAnnotation(raw)
		if err != nil {
			return err
		}
		s.put(a)
	}
	if len(s.order) > 2*len(s.have)+1024 {
		s.order = slices.Collect(s.each)
	}
	return nil
}

// log writes an entry to the history and waits until the disk has it.
func (s *store) log(e entry) error {
	if s.history == nil {
		if err := s.openHistory(); err != nil {
			return writeRefusalOf(err)
		}
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err = s.history.Write(append(line, '\n')); err == nil {
		err = s.history.Sync()
	}
	if err != nil { // what was half written must not precede the next line
		_ = s.history.Close()
		s.history = nil
		return writeRefusalOf(err)
	}
	return nil
}

// openHistory opens the history for appending, without a torn last line.
func (s *store) openHistory() error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(s.historyPath(), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(f)
	if err == nil {
		whole := int64(bytes.LastIndexByte(b, '\n') + 1)
		if err = f.Truncate(whole); err == nil {
			_, err = f.Seek(whole, io.SeekStart)
		}
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	s.history = f
	return nil
}

// writeRefusalOf tells a folder that cannot be written to from other
// failures.
func writeRefusalOf(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return refuse(http.StatusForbidden, "the folder of annotations cannot be written to; give another one when starting the server")
	}
	return fmt.Errorf("save annotations: %w", err)
}

// compact begins the history anew, from the edits that can be undone.
func (s *store) compact() error {
	if s.history != nil {
		if err := s.history.Close(); err != nil {
			return err
		}
		s.history = nil
	}
	err := atomicfile.Write(s.historyPath(), func(w io.Writer) error {
		enc := json.NewEncoder(w)
		first := s.last - int64(len(s.undo)) + 1
		for i, d := range s.undo {
			if err := enc.Encode(entry{N: first + int64(i), Kind: "edit", edit: d}); err != nil {
				return err
			}
		}
		return enc.Encode(entry{N: s.last, Kind: "saved"})
	})
	if err != nil {
		return writeRefusalOf(err)
	}
	return nil
}

// flush writes the GeoJSON file.
func (s *store) flush() error {
	err := atomicfile.Write(s.path, func(w io.Writer) error {
		if _, err := fmt.Fprintf(w, `{"type":"FeatureCollection","slidesam":{"edit":%d},"features":[`, s.last); err != nil {
			return err
		}
		sep := "\n"
		for a := range s.each {
			if _, err := fmt.Fprintf(w, "%s%s", sep, a.raw); err != nil {
				return err
			}
			sep = ",\n"
		}
		_, err := io.WriteString(w, "\n]}\n")
		return err
	})
	if err != nil {
		return writeRefusalOf(err)
	}
	s.written, s.pending = s.last, nil
	if s.history != nil { // no harm if it is lost: edits done twice are done once
		if _, err := fmt.Fprintf(s.history, "{\"n\":%d,\"kind\":\"saved\"}\n", s.last); err != nil {
			_ = s.history.Close()
			s.history = nil
		}
	}
	s.seen, err = stampOf(s.path)
	return err
}
