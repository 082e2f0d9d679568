package sam_test

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam"
)

// TestMeasurements: squares of 10 micrometres have the measurements of such, in
// GeoJSON and in the table, whatever tiles they lie on.
func TestMeasurements(t *testing.T) {
	dir := t.TempDir()
	_, err := sam.SegmentSlide(t.Context(), spots(), dir, darkSpots, sam.SegmentOptions{Tile: 128, AllTiles: true, Type: sam.Annotation})
	require.NoError(t, err)
	res, err := sam.MergeSlide(t.Context(), spots(), dir, darkSpots, sam.SegmentOptions{Tile: 128, AllTiles: true, Type: sam.Annotation})
	require.NoError(t, err)
	// Of the colour (60, 30, 110), by hand: densities 0.6229, 0.9170, 0.3630.
	want := map[string]float64{sam.MeasureAreaMicrons: 100, "Perimeter µm": 37.7, "Circularity": 0.88, "Hematoxylin OD mean": 0.964, "Eosin OD mean": 0.245}
	n := 0
	for f, err := range res.Features() {
		require.NoError(t, err)
		n++
		assert.Equal(t, sam.Annotation, f.Type)
		got := map[string]float64{}
		for _, m := range f.Measurements {
			got[m.Name] = m.Value
		}
		for name, v := range want {
			assert.InEpsilon(t, v, got[name], 0.05, name)
		}
	}
	assert.Equal(t, 3, n)

	f, err := os.Open(filepath.Join(dir, sam.CSVFile))
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 4)
	for column, name := range map[string]string{"area_um2": sam.MeasureAreaMicrons, "perimeter_um": "Perimeter µm", "circularity": "Circularity", "haematoxylin_od": "Hematoxylin OD mean", "eosin_od": "Eosin OD mean"} {
		k := slices.Index(rows[0], column)
		require.GreaterOrEqual(t, k, 0, column)
		v, err := strconv.ParseFloat(rows[1][k], 64)
		require.NoError(t, err)
		assert.InEpsilon(t, want[name], v, 0.05, column)
	}
}
