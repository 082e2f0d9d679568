package slide

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/slidesam/sam/internal/atomicfile"
	"github.com/slidesam/sam/internal/regular"
)

// flagsFile keeps the flags of a run in its folder, for -merge.
const flagsFile = "flags.json"

// maxFlags is the longest file of flags that is read, in bytes.
const maxFlags = 1 << 20

// save writes the flags that results depend on to the folder of a run.
func (j *job) save(dir string) error {
	set := map[string]string{}
	j.set.VisitAll(func(f *flag.Flag) {
		if f.Name == "slide-mpp" || !slices.Contains(ofOneRun, f.Name) && f.Name != "device" {
			set[f.Name] = f.Value.String()
		}
	})
	b, err := json.MarshalIndent(set, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	return atomicfile.WriteIn(dir, flagsFile, func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}

// recall gives the flags that were not given the values that the run in a folder
// had. A folder without them is one of an older version, or none.
func (j *job) recall(dir string, env func(string) string) error {
	path := filepath.Join(dir, flagsFile)
	b, err := regular.ReadFile(path, maxFlags)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var saved map[string]string
	if err := json.Unmarshal(b, &saved); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	given := map[string]bool{}
	j.set.Visit(func(f *flag.Flag) { given[f.Name] = true })
	for name, value := range saved {
		if given[name] || slices.Contains(ofOneRun, name) && name != "slide-mpp" {
			continue
		}
		if err := j.set.Set(name, value); err != nil {
			return fmt.Errorf("%s: -%s: %w", path, name, err)
		}
	}
	return j.check(env)
}
