package instance

import (
	"encoding/json"
	"fmt"
	"strings"
)

// entry is the name under which a decoder's metadata have its settings.
const entry = "slidesam.instances"

// Entries are what the metadata of a decoder's checkpoint have of its settings.
func (s Settings) Entries() (map[string]string, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("instance: settings: %w", err)
	}
	return map[string]string{entry: string(b)}, nil
}

// SettingsFrom returns the settings that metadata have or, without any, those
// of [SettingsOf] for the weights' fingerprint. It returns an error for settings
// that mean nothing.
func SettingsFrom(metadata map[string]string, fingerprint [16]byte) (Settings, error) {
	text, ok := metadata[entry]
	if !ok {
		return SettingsOf(fingerprint), nil
	}
	var s Settings
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return s, fmt.Errorf("metadata %s: %w", entry, err)
	}
	o := s.Options()
	if err := o.check(); err != nil {
		return s, fmt.Errorf("metadata %s: %w", entry, err)
	}
	for _, v := range []float32{s.ForegroundThreshold, s.CentreThreshold, s.BoundaryThreshold} {
		if !(v >= -1 && v <= 2) {
			return s, fmt.Errorf("metadata %s: a threshold of %g", entry, v)
		}
	}
	return s, nil
}
