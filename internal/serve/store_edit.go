package serve

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/google/uuid"
)

// editAnswer says what an edit did.
type editAnswer struct {
	Revision int64             `json:"revision"`
	Undo     int               `json:"undo"` // edits that can be undone
	Redo     int               `json:"redo"`
	Added    []json.RawMessage `json:"added"`
	Removed  []string          `json:"removed"` // ids
}

// follow reads the file again if another program wrote it; edits that were not
// in the file yet are done again on top.
func (s *store) follow() error {
	now, err := stampOf(s.path)
	if err != nil || now == s.seen {
		return err
	}
	if _, err := s.loadFile(); err != nil {
		return err
	}
	if len(s.pending) == 0 {
		return nil
	}
	for _, d := range s.pending {
		if err := s.change(d); err != nil {
			return err
		}
	}
	return s.flush()
}

// apply adds features, and removes those of the given ids. A feature that is
// there already is replaced.
func (s *store) apply(add []json.RawMessage, remove []string) (*editAnswer, error) {
	var added []*annotation
	ids := map[string]bool{}
	for _, raw := range add {
		a, err := parseAnnotation(raw)
		if err != nil {
			return nil, err
		}
		if a.id == "" {
			if err := a.setID(uuid.NewString()); err != nil {
				return nil, err
			}
		}
		if ids[a.id] {
			return nil, refuse(http.StatusUnprocessableEntity, "two features of the id %s", a.id)
		}
		ids[a.id] = true
		added = append(added, a)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.follow(); err != nil {
		return nil, err
	}
	var d edit
	gone := map[string]bool{}
	take := func(id string) bool {
		a, ok := s.have[id]
		if ok && !gone[id] {
			gone[id] = true
			d.Remove = append(d.Remove, a.raw)
		}
		return ok
	}
	for _, id := range remove {
		if !take(id) {
			return nil, refuse(http.StatusConflict, "no annotation %.40q: it was removed meanwhile", id)
		}
	}
	for _, a := range added {
		take(a.id) // replaced
		d.Add = append(d.Add, a.raw)
	}
	if len(s.have)+len(d.Add)-len(d.Remove) > maxAnnotations {
		return nil, refuse(http.StatusUnprocessableEntity, "over %d annotations on one slide", maxAnnotations)
	}
	if len(d.Add)+len(d.Remove) == 0 {
		return s.answer(d), nil
	}
	return s.do(entry{N: s.last + 1, Kind: "edit", edit: d}, d)
}

// back undoes the last edit, forth does it again.
func (s *store) back() (*editAnswer, error) { return s.step("undo", &s.undo) }

func (s *store) forth() (*editAnswer, error) { return s.step("redo", &s.redo) }

func (s *store) step(kind string, stack *[]edit) (*editAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.follow(); err != nil {
		return nil, err
	}
	if len(*stack) == 0 {
		return s.answer(edit{}), nil
	}
	d := (*stack)[len(*stack)-1]
	if kind == "undo" {
		d = edit{Add: d.Remove, Remove: d.Add}
	}
	return s.do(entry{N: s.last + 1, Kind: kind}, d)
}

// do writes an entry, then does it.
func (s *store) do(e entry, d edit) (*editAnswer, error) {
	if err := s.log(e); err != nil {
		return nil, err
	}
	if err := s.replay(e, true); err != nil {
		return nil, err
	}
	s.pending = append(s.pending, d)
	s.later()
	return s.answer(d), nil
}

func (s *store) answer(d edit) *editAnswer {
	a := &editAnswer{Revision: s.last, Undo: len(s.undo), Redo: len(s.redo), Added: append([]json.RawMessage{}, d.Add...), Removed: []string{}}
	stays := map[string]bool{}
	for _, raw := range d.Add {
		stays[idOf(raw)] = true
	}
	for _, raw := range d.Remove {
		if id := idOf(raw); !stays[id] {
			a.Removed = append(a.Removed, id)
		}
	}
	return a
}

func idOf(raw json.RawMessage) string {
	var f struct {
		ID string `json:"id"`
	}
	_ = json.Unmarshal(raw, &f) // it was parsed before
	return f.ID
}

// later writes the file soon, many edits at once.
func (s *store) later() {
	if s.timer != nil || s.closed {
		return
	}
	s.timer = time.AfterFunc(flushDelay, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.timer = nil
		if s.written == s.last {
			return
		}
		err := s.follow()
		if err == nil && s.written != s.last {
			err = s.flush()
		}
		if err != nil {
			s.fail(err)
		}
	})
}

// all returns the features in their order, and their revision.
func (s *store) all() ([]*annotation, *editAnswer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.follow(); err != nil {
		return nil, nil, err
	}
	return slices.Collect(s.each), s.answer(edit{}), nil
}

// close writes what is not written.
func (s *store) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	var err error
	if s.written != s.last {
		err = s.flush()
	}
	if s.history != nil {
		if e := s.history.Close(); err == nil {
			err = e
		}
		s.history = nil
	}
	return err
}
