package slide

import (
	"encoding/csv"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"strconv"

	"github.com/slidesam/sam/internal/regular"
)

// object is a line of objects.csv.
type object struct {
	id         int
	class      string
	mpp, um2   float64 // 0: unknown
	x, y       float64 // centroid, pixels of level 0
	midX, midY float64 // of the box
	box        image.Rectangle
}

// readTable calls f for each line of objects.csv.
func readTable(path string, use func(object)) error {
	f, err := regular.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := csv.NewReader(f)
	head, err := r.Read()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	col := map[string]int{}
	for i, n := range head {
		col[n] = i
	}
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		num := func(name string) (v float64) {
			if s := row[col[name]]; s != "" && err == nil {
				v, err = strconv.ParseFloat(s, 64)
			}
			return v
		}
		o := object{
			id: int(num("id")), class: row[col["class"]], mpp: num("mpp"), um2: num("area_um2"), x: num("centroid_x"), y: num("centroid_y"),
		}
		x0, y0, w, h := num("box_x"), num("box_y"), num("box_w"), num("box_h")
		o.midX, o.midY = x0+w/2, y0+h/2
		o.box = image.Rect(int(x0), int(y0), int(math.Ceil(x0+w)), int(math.Ceil(y0+h)))
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		use(o)
	}
}
