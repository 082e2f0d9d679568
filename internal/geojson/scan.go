package geojson

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrFormat is wrapped by every error about a text that is no GeoJSON, or none
// that can be used.
var ErrFormat = errors.New("not usable GeoJSON")

const (
	// maxNesting is how deep a text may be. Annotations have about ten levels,
	// and each may be looked at again for every one above it.
	maxNesting = 64
	// maxFeature is the longest feature that is read, in bytes: an outline of
	// three million points.
	maxFeature = 64 << 20
	// maxMembers bounds what stands beside the features of a collection.
	maxMembers = 1 << 20
)

// Scanner reads the features of a GeoJSON text one by one: those of a
// FeatureCollection, of a bare list, as QuPath has written too, or a single
// one. It holds one feature at a time, of at most 64 MiB.
//
//	s := geojson.NewScanner(file)
//	for s.Scan() {
//		o, err := geojson.Parse(s.Bytes(), geojson.Options{})
//	}
//	err := s.Err()
//
// QuPath writes measurements that are not finite as NaN and Infinity, which are
// no JSON: they are left out of what Bytes returns.
type Scanner struct {
	r       *bufio.Reader
	at      int64 // of the next byte
	buf     []byte
	start   int64 // of the feature
	bare    bool  // the feature has a bare NaN or Infinity
	next    func(*Scanner) bool
	members map[string]json.RawMessage
	size    int // of members
	err     error
}

// NewScanner returns a Scanner of r.
func NewScanner(r io.Reader) *Scanner { return newScanner(r, 1<<16) }

func newScanner(r io.Reader, buffer int) *Scanner {
	return &Scanner{r: bufio.NewReaderSize(r, buffer), next: (*Scanner).open, members: map[string]json.RawMessage{}}
}

// Scan goes on to the next feature. It returns false at the end of the text
// and at an error, which Err returns.
func (s *Scanner) Scan() bool {
	return s.err == nil && s.next != nil && s.next(s)
}

// Bytes returns the feature as it stands in the text, valid JSON. It is
// overwritten by the next Scan.
func (s *Scanner) Bytes() []byte { return s.buf }

// Place returns where the feature lies in the text, in bytes. [FeatureAt] reads
// it again.
func (s *Scanner) Place() (offset, length int64) { return s.start, s.at - s.start }

// Err returns what stopped the scan, nil at the end of the text. It wraps
// [ErrFormat] unless it is the reader's.
func (s *Scanner) Err() error { return s.err }

// Member returns a member of the collection that is no feature, nil if there
// is none. All are known once Scan has returned false.
func (s *Scanner) Member(name string) json.RawMessage { return s.members[name] }

// FeatureAt reads the feature at a place that a Scanner gave.
func FeatureAt(r io.ReaderAt, offset, length int64) ([]byte, error) {
	s := newScanner(io.NewSectionReader(r, offset, length), int(min(max(length, 16), 1<<16)))
	if !s.Scan() {
		return nil, errors.Join(s.Err(), fmt.Errorf("%w: no feature at byte %d", ErrFormat, offset))
	}
	return s.Bytes(), nil
}

// fail ends the scan.
func (s *Scanner) fail(err error) bool {
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: the text ends at byte %d, in the middle", ErrFormat, s.at)
	}
	s.err = err
	return false
}

func (s *Scanner) failf(format string, args ...any) bool {
	return s.fail(fmt.Errorf("%w: byte %d: %s", ErrFormat, s.at, fmt.Sprintf(format, args...)))
}

// peek returns the next byte that is not white space, and leaves it.
func (s *Scanner) peek() (byte, error) {
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return 0, err
		}
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c, s.r.UnreadByte()
		}
		s.at++
	}
}

// take reads the next byte that is not white space, which has to be want.
func (s *Scanner) take(want byte) error {
	c, err := s.peek()
	if err == nil && c != want {
		err = fmt.Errorf("%w: byte %d: %q, want %q", ErrFormat, s.at, c, want)
	}
	if err != nil {
		return err
	}
	_, err = s.r.Discard(1)
	s.at++
	return err
}

// open finds out what kind of text it is.
func (s *Scanner) open() bool {
	if b, _ := s.r.Peek(4); bytes.HasPrefix(b, []byte("\xef\xbb\xbf")) {
		_, _ = s.r.Discard(3) // it was peeked at
		s.at = 3
	} else if bytes.HasPrefix(b, []byte("PK\x03\x04")) || bytes.HasPrefix(b, []byte("\x1f\x8b")) {
		return s.failf("a compressed file: unpack it first")
	}
	c, err := s.peek()
	switch {
	case err != nil:
		return s.fail(err)
	case c == '[':
		return s.begin((*Scanner).end)
	case c == '{':
		return s.object()
	}
	return s.failf("%q, want a FeatureCollection or a list of features", c)
}

// begin enters a list of features; after is what comes behind it.
func (s *Scanner) begin(after func(*Scanner) bool) bool {
	if err := s.take('['); err != nil {
		return s.fail(err)
	}
	c, err := s.peek()
	if err != nil {
		return s.fail(err)
	}
	if c == ']' {
		_ = s.take(']') // it was peeked at
		return after(s)
	}
	first := true
	s.next = func(s *Scanner) bool {
		if !first {
			c, err := s.peek()
			if err != nil {
				return s.fail(err)
			}
			if c == ']' {
				_ = s.take(']')
				return after(s)
			}
			if err := s.take(','); err != nil {
				return s.fail(err)
			}
		}
		first = false
		return s.element()
	}
	return s.next(s)
}

// element reads one feature.
func (s *Scanner) element() bool {
	c, err := s.peek()
	if err != nil {
		return s.fail(err)
	}
	if c != '{' {
		return s.failf("%q, want a feature", c)
	}
	s.start = s.at
	if err := s.value(maxFeature); err != nil {
		return s.fail(err)
	}
	return s.clean()
}

// clean leaves out of a feature the measurements that are not finite.
func (s *Scanner) clean() bool {
	if !s.bare {
		return true
	}
	var err error
	if s.buf, err = withoutNulls(s.buf); err != nil {
		return s.fail(fmt.Errorf("%w: the feature at byte %d: %w", ErrFormat, s.start, err))
	}
	return true
}

// object reads the members of the outermost object up to its features, or all
// of a single feature.
func (s *Scanner) object() bool {
	s.start = s.at
	if err := s.take('{'); err != nil {
		return s.fail(err)
	}
	first, features, bare := true, false, false
	var whole bytes.Buffer // all members but features
	var member func(s *Scanner) bool
	closing := func(s *Scanner) bool {
		var kind string
		_ = json.Unmarshal(s.members["type"], &kind) // an empty kind is refused
		switch {
		case kind == "FeatureCollection" && features:
			return s.end()
		case kind == "Feature" && !features:
			s.buf = append(append([]byte("{"), whole.Bytes()...), '}')
			s.next, s.bare = (*Scanner).end, bare
			return s.clean()
		case features:
			return s.failf("type %q, want a FeatureCollection or a list of features", kind)
		}
		return s.failf("type %q without features, want a FeatureCollection, a list of features or a Feature", kind)
	}
	member = func(s *Scanner) bool {
		for {
			c, err := s.peek()
			if err != nil {
				return s.fail(err)
			}
			if c == '}' {
				_ = s.take('}')
				return closing(s)
			}
			if !first {
				if err := s.take(','); err != nil {
					return s.fail(err)
				}
			}
			first = false
			name, err := s.key()
			if err != nil {
				return s.fail(err)
			}
			if name == "features" {
				if features {
					return s.failf("features twice")
				}
				features = true
				return s.begin(func(s *Scanner) bool { s.next = member; return member(s) })
			}
			if _, err := s.peek(); err != nil {
				return s.fail(err)
			}
			if err := s.value(maxFeature - whole.Len()); err != nil {
				return s.fail(err)
			}
			if whole.Len() > 0 {
				whole.WriteByte(',')
			}
			quoted, _ := json.Marshal(name) // a string always marshals
			whole.Write(quoted)
			whole.WriteByte(':')
			whole.Write(s.buf)
			bare = bare || s.bare
			if s.size += len(s.buf); s.size <= maxMembers || name == "type" && len(s.buf) < 100 {
				s.members[name] = bytes.Clone(s.buf)
			}
		}
	}
	return member(s)
}

// key reads a member's name and the colon.
func (s *Scanner) key() (string, error) {
	c, err := s.peek()
	if err != nil {
		return "", err
	}
	if c != '"' {
		return "", fmt.Errorf("%w: byte %d: %q, want a member's name", ErrFormat, s.at, c)
	}
	if err := s.value(maxMembers); err != nil {
		return "", err
	}
	var name string
	if err := json.Unmarshal(s.buf, &name); err != nil {
		return "", fmt.Errorf("%w: byte %d: %w", ErrFormat, s.at, err)
	}
	return name, s.take(':')
}

// end reads what is behind the features, which has to be nothing.
func (s *Scanner) end() bool {
	s.next = nil
	switch c, err := s.peek(); {
	case errors.Is(err, io.EOF):
		return false
	case err != nil:
		return s.fail(err)
	default:
		return s.failf("%q behind the end of the features", c)
	}
}

// value reads one value of at most limit bytes into buf and checks it. Bare
// NaN and Infinity become null.
func (s *Scanner) value(limit int) error {
	s.buf, s.bare = s.buf[:0], false
	depth, text := 0, false
	for {
		c, err := s.r.ReadByte()
		if err != nil {
			return err
		}
		if depth == 0 && !text && len(s.buf) > 0 && (c == ',' || c == '}' || c == ']') { // behind a number or a word
			if err := s.r.UnreadByte(); err != nil {
				return err
			}
			break
		}
		s.at++
		if len(s.buf) >= limit {
			return fmt.Errorf("%w: byte %d: a value of over %d bytes", ErrFormat, s.at, limit)
		}
		if !text && (c == 'N' || c == 'I') {
			if err := s.notFinite(c); err != nil {
				return err
			}
			continue
		}
		s.buf = append(s.buf, c)
		switch {
		case text && c == '\\':
			if c, err = s.r.ReadByte(); err != nil {
				return err
			}
			s.at++
			s.buf = append(s.buf, c)
		case c == '"':
			text = !text
		case text:
		case c == '[' || c == '{':
			if depth++; depth > maxNesting {
				return fmt.Errorf("%w: byte %d: over %d arrays and objects within each other", ErrFormat, s.at, maxNesting)
			}
		case c == ']' || c == '}':
			depth--
		}
		if depth == 0 && !text && (c == '"' || c == ']' || c == '}') {
			break
		}
	}
	if !json.Valid(s.buf) {
		var v json.RawMessage
		return fmt.Errorf("%w: up to byte %d: %w", ErrFormat, s.at, json.Unmarshal(s.buf, &v))
	}
	return nil
}

// notFinite reads the rest of NaN or Infinity and puts null in its place.
func (s *Scanner) notFinite(first byte) error {
	word := "NaN"
	if first == 'I' {
		word = "Infinity"
	}
	rest := make([]byte, len(word)-1)
	if _, err := io.ReadFull(s.r, rest); err != nil || string(rest) != word[1:] {
		return fmt.Errorf("%w: byte %d: %q, want a value", ErrFormat, s.at, first)
	}
	s.at += int64(len(rest))
	if n := len(s.buf); n > 0 && s.buf[n-1] == '-' {
		s.buf = s.buf[:n-1]
	}
	s.buf, s.bare = append(s.buf, "null"...), true
	return nil
}
