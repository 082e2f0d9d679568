package instance

import (
	"cmp"
	"encoding/hex"
)

// Settings are how a decoder's maps are made and read. Zero values are left
// open.
type Settings struct {
	ForegroundThreshold, CentreThreshold, BoundaryThreshold float32
	ForegroundSmoothing, DistanceSmoothing                  float64 // below 0: none
	MinSize                                                 int
	MinForeground                                           float32
	RunningStats, AsIs                                      bool
}

// bundled is the fingerprint of the bundled decoder's weights, whatever file
// they come from.
const bundled = "58cc0b193c547fdb2d270425b787e155"

// SettingsOf returns what the decoder whose weights have a fingerprint learned
// with: the bundled one has settings of its own, others leave all open.
func SettingsOf(fingerprint [16]byte) Settings {
	if hex.EncodeToString(fingerprint[:]) != bundled {
		return Settings{}
	}
	return Settings{ForegroundThreshold: 0.4, MinSize: 25, RunningStats: true, AsIs: true}
}

// Or fills what s leaves open from d.
func (s Settings) Or(d Settings) Settings {
	return Settings{
		cmp.Or(s.ForegroundThreshold, d.ForegroundThreshold), cmp.Or(s.CentreThreshold, d.CentreThreshold), cmp.Or(s.BoundaryThreshold, d.BoundaryThreshold),
		cmp.Or(s.ForegroundSmoothing, d.ForegroundSmoothing), cmp.Or(s.DistanceSmoothing, d.DistanceSmoothing),
		cmp.Or(s.MinSize, d.MinSize), cmp.Or(s.MinForeground, d.MinForeground), s.RunningStats || d.RunningStats, s.AsIs || d.AsIs,
	}
}

// Options fills what s leaves open with micro-sam's defaults.
func (s Settings) Options() Options {
	d := Defaults()
	return Options{
		ForegroundThreshold: cmp.Or(s.ForegroundThreshold, d.ForegroundThreshold), CentreThreshold: cmp.Or(s.CentreThreshold, d.CentreThreshold),
		BoundaryThreshold: cmp.Or(s.BoundaryThreshold, d.BoundaryThreshold), MinSize: s.MinSize, MinForeground: max(s.MinForeground, 0),
		ForegroundSmoothing: max(cmp.Or(s.ForegroundSmoothing, d.ForegroundSmoothing), 0), DistanceSmoothing: max(cmp.Or(s.DistanceSmoothing, d.DistanceSmoothing), 0),
	}
}
