package refine

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/paulmach/orb"
)

// journal keeps the answers of the windows that are done: a line that names the
// run, then a page for each window. A page is a line with the window's number,
// the page's length and SHA-256, a line with what could not be read, and a line
// for each finding. A page that is torn or altered, and all behind it, are done
// again.
type journal struct {
	f       *os.File
	size    int64
	done    []bool // of each window
	at      []int64
	refined int
	found   int
	missing map[string]bool // tiles of the slide that could not be read
}

// finding is what became of an object in its window.
type finding struct {
	Object    int32            `json:"object"`
	Reason    Reason           `json:"reason,omitempty"`
	Outline   orb.MultiPolygon `json:"outline,omitempty"`   // on level 0
	Area      float64          `json:"area,omitempty"`      // pixels of level 0
	Perimeter float64          `json:"perimeter,omitempty"` // pixels of the window
	Circular  float64          `json:"circularity,omitempty"`
	IoUPred   float32          `json:"iou"`
	Stability float32          `json:"stability"`
	Coarse    float64          `json:"coarse"` // IoU with the coarse outline; -1: it has none
}

// maxPage bounds a page of the journal, in bytes.
const maxPage = 1 << 30

// openJournal opens the journal of a run over so many windows and objects, or
// begins it. The error wraps [ErrOtherRun] if there is one of another run.
func openJournal(path, id string, windows, objects int) (*journal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	j := &journal{f: f, done: make([]bool, windows), at: make([]int64, objects), missing: map[string]bool{}}
	if err := j.load(path, id); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

func (j *journal) load(path, id string) error {
	head := "slidesam refine " + id + "\n"
	r := bufio.NewReaderSize(j.f, 1<<16)
	first, err := r.ReadString('\n')
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case err != nil && len(first) < len(head) && first == head[:len(first)]: // new, or torn at once
		if err := j.f.Truncate(0); err != nil {
			return err
		}
		return j.append([]byte(head))
	case first != head:
		return fmt.Errorf("%w: %s: remove it, or give the slide, model, annotations and options that it was begun with", ErrOtherRun, path)
	}
	j.size = int64(len(head))
	for {
		n, err := j.readPage(r)
		if err != nil {
			return j.f.Truncate(j.size) // what is behind was never said to be done
		}
		j.size += n
	}
}

// readPage reads the next page and returns its length.
func (j *journal) readPage(r *bufio.Reader) (int64, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	head := int64(len(line))
	var window, n int
	var sum string
	if _, err := fmt.Sscanf(string(line), "page %d %d %s\n", &window, &n, &sum); err != nil {
		return 0, err
	}
	if window < 0 || window >= len(j.done) || n < 0 || n > maxPage {
		return 0, errors.New("a page of another run")
	}
	var body bytes.Buffer
	if _, err := io.CopyN(&body, r, int64(n)); err != nil {
		return 0, err
	}
	if sumOf(body.Bytes()) != sum {
		return 0, errors.New("torn")
	}
	return head + int64(n), j.index(window, body.Bytes(), j.size+head)
}

// index notes the findings of a page whose body begins at a place of the file.
func (j *journal) index(window int, body []byte, at int64) error {
	first, rest, _ := bytes.Cut(body, []byte("\n"))
	var missing []string
	if err := json.Unmarshal(first, &missing); err != nil {
		return err
	}
	at += int64(len(first)) + 1
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		var f finding
		if err := json.Unmarshal(line, &f); err != nil {
			return err
		}
		if f.Object < 0 || int(f.Object) >= len(j.at) {
			return fmt.Errorf("object %d of %d", f.Object, len(j.at))
		}
		if f.Reason == Refined {
			j.refined++
		}
		j.at[f.Object] = at
		j.found++
		at += int64(len(line)) + 1
	}
	for _, m := range missing {
		j.missing[m] = true
	}
	j.done[window] = true
	return nil
}

func sumOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

func (j *journal) append(b []byte) error {
	_, err := j.f.WriteAt(b, j.size)
	j.size += int64(len(b))
	return err
}

// put writes the page of a window.
func (j *journal) put(window int, fs []finding, missing []string) error {
	var body bytes.Buffer
	e := json.NewEncoder(&body)
	if missing == nil {
		missing = []string{}
	}
	if err := e.Encode(missing); err != nil {
		return err
	}
	for _, f := range fs {
		if err := e.Encode(f); err != nil {
			return err
		}
	}
	page := fmt.Appendf(nil, "page %d %d %s\n", window, body.Len(), sumOf(body.Bytes()))
	at := j.size + int64(len(page))
	if err := j.append(append(page, body.Bytes()...)); err != nil {
		return err
	}
	return j.index(window, body.Bytes(), at)
}

// get reads what became of an object whose window is done.
func (j *journal) get(object int) (*finding, error) {
	at := j.at[object]
	if at == 0 {
		return nil, fmt.Errorf("journal %s: object %d is missing", j.f.Name(), object)
	}
	line, err := bufio.NewReaderSize(io.NewSectionReader(j.f, at, j.size-at), 1<<11).ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	var f finding
	if err := json.Unmarshal(line, &f); err != nil || int(f.Object) != object {
		return nil, fmt.Errorf("journal %s: object %d: another program changed it", j.f.Name(), object)
	}
	return &f, nil
}

// remove ends the journal: its run is done.
func (j *journal) remove() error { return errors.Join(j.f.Close(), os.Remove(j.f.Name())) }
