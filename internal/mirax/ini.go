package mirax

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/slidesam/sam/internal/tiff"
)

// maxINI is the most bytes that Slidedat.ini may have.
const maxINI = 1 << 20

// ini is Slidedat.ini: values by section and key.
type ini map[string]map[string]string

func parseINI(b []byte) ini {
	out := ini{}
	section := map[string]string{}
	for line := range strings.Lines(strings.TrimPrefix(string(b), "\ufeff")) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") && strings.HasSuffix(line, "]") {
			name := line[1 : len(line)-1]
			if section = out[name]; section == nil {
				section = map[string]string{}
				out[name] = section
			}
			continue
		}
		if k, v, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, ";") {
			section[strings.TrimSpace(k)] = strings.TrimSpace(v)
		}
	}
	return out
}

func (f ini) text(section, key string) (string, error) {
	v, ok := f[section][key]
	if !ok {
		return "", fmt.Errorf("in Slidedat.ini: [%s] %s is missing: %w", section, key, tiff.ErrCorrupt)
	}
	return v, nil
}

// whole reads an integer from lo to hi.
func (f ini) whole(section, key string, lo, hi int) (int, error) {
	s, err := f.text(section, key)
	if err != nil {
		return 0, err
	}
	v, err := strconv.Atoi(s)
	if err != nil || v < lo || v > hi {
		return 0, fmt.Errorf("in Slidedat.ini: [%s] %s = %q, want %d to %d: %w", section, key, s, lo, hi, tiff.ErrCorrupt)
	}
	return v, nil
}

// number reads a number, with a point or a comma.
func (f ini) number(section, key string) (float64, error) {
	s, err := f.text(section, key)
	if err != nil {
		return 0, err
	}
	v, err := strconv.ParseFloat(strings.Replace(s, ",", ".", 1), 64)
	if err != nil || !(v > -1e6 && v < 1e6) {
		return 0, fmt.Errorf("in Slidedat.ini: [%s] %s = %q: %w", section, key, s, tiff.ErrCorrupt)
	}
	return v, nil
}

// record returns the number of the first record of a layer outside of the
// pyramid, and of one of its values if value is not empty; -1 if there is
// none. section is the value's own section.
func (f ini) record(layers int, name, value string) (record int, section string) {
	const h = "HIERARCHICAL"
	for i := range layers {
		n, err := f.whole(h, fmt.Sprintf("NONHIER_%d_COUNT", i), 1, 1<<16)
		if err != nil {
			return -1, ""
		}
		if f[h][fmt.Sprintf("NONHIER_%d_NAME", i)] == name {
			if value == "" {
				return record, ""
			}
			for k := range n {
				if f[h][fmt.Sprintf("NONHIER_%d_VAL_%d", i, k)] == value {
					return record + k, f[h][fmt.Sprintf("NONHIER_%d_VAL_%d_SECTION", i, k)]
				}
			}
			return -1, ""
		}
		record += n
	}
	return -1, ""
}
