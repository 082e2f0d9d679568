package cohort

import (
	"cmp"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/slidesam/sam/internal/regular"
	"github.com/slidesam/sam/internal/wholeslide"
)

// Class is what was counted of the objects of one class at one resolution. Of
// a slide of unknown resolution areas are 0.
type Class struct {
	Name    string  `json:"class"`
	MPP     float64 `json:"mpp,omitempty"` // 0: of all, or unknown
	Objects int     `json:"objects"`
	Area    float64 `json:"area_mm2"`
	Mean    float64 `json:"mean_um2"`
	Median  float64 `json:"median_um2"`
	PerMM2  float64 `json:"per_mm2"` // objects by area searched; 0: unknown
	Share   float64 `json:"share"`   // of the area searched; overlapping objects count each
}

// classKey tells classes apart.
type classKey struct {
	name string
	mpp  float64
}

// classesOf counts the objects of a finished slide: all, then by class and
// resolution if there are several.
func classesOf(dir string, tissue float64) ([]Class, error) {
	areas := map[classKey][]float64{}
	all := classKey{}
	areas[all] = nil
	path := filepath.Join(dir, wholeslide.CSVFile)
	err := readObjects(path, func(name string, mpp, um2 float64) {
		k := classKey{name, mpp}
		areas[k] = append(areas[k], um2)
		if k != all {
			areas[all] = append(areas[all], um2)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var out []Class
	for k, a := range areas {
		out = append(out, newClass(k, a, tissue))
	}
	slices.SortFunc(out, func(a, b Class) int {
		if d := cmp.Compare(b2i(a.key() != all), b2i(b.key() != all)); d != 0 {
			return d
		}
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.MPP, b.MPP))
	})
	return out, nil
}

func (c Class) key() classKey { return classKey{c.Name, c.MPP} }

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func newClass(k classKey, areas []float64, tissue float64) Class {
	c := Class{Name: k.name, MPP: k.mpp, Objects: len(areas)}
	sum := 0.0
	for _, a := range areas {
		sum += a
	}
	c.Area = round(sum/1e6, 9)
	if len(areas) > 0 {
		slices.Sort(areas)
		c.Mean, c.Median = round(sum/float64(len(areas)), 4), quantile(areas, 0.5)
	}
	if tissue > 0 {
		c.PerMM2, c.Share = round(float64(len(areas))/tissue, 4), round(sum/1e6/tissue, 6)
	}
	return c
}

// readObjects calls use for each line of objects.csv.
func readObjects(path string, use func(class string, mpp, um2 float64)) error {
	f, err := regular.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.ReuseRecord = true
	head, err := r.Read()
	if err != nil {
		return err
	}
	var col [3]int
	for i, n := range []string{"class", "mpp", "area_um2"} {
		if col[i] = slices.Index(head, n); col[i] < 0 {
			return fmt.Errorf("no column %s", n)
		}
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var v [2]float64
		for i := range v {
			if text := row[col[i+1]]; text != "" {
				if v[i], err = strconv.ParseFloat(text, 64); err != nil {
					return err
				}
			}
		}
		use(row[col[0]], v[0], v[1])
	}
}
