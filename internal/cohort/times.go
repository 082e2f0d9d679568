package cohort

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/slidesam/sam/internal/regular"
)

// writeTimes writes how long each part of each slide took, in the attempt that
// finished it. They depend on the machine, and are apart from the table for
// that.
func (c *Cohort) writeTimes(w io.Writer) error {
	t := csv.NewWriter(w)
	_ = t.Write([]string{"id", "part", "parts", "tiles", "seconds"}) // errors are kept
	for _, s := range c.Slides {
		dir := filepath.Join(c.folder(s), timesFolder)
		files, err := os.ReadDir(dir) // by name
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range files {
			if filepath.Ext(e.Name()) != ".json" {
				continue
			}
			f := filepath.Join(dir, e.Name())
			b, err := regular.ReadFile(f, maxRecord)
			if err != nil {
				return err
			}
			var p partTime
			if err := json.Unmarshal(b, &p); err != nil {
				return fmt.Errorf("%s: %w", f, err)
			}
			_ = t.Write([]string{s.ID, strconv.Itoa(p.Part), strconv.Itoa(p.Parts), strconv.Itoa(p.Tiles), strconv.FormatFloat(p.Seconds, 'f', 3, 64)})
		}
	}
	t.Flush()
	return t.Error()
}
