package buckets_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"image"
	"io"
	"io/fs"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gocloud.dev/blob"

	"github.com/slidesam/sam"
	_ "github.com/slidesam/sam/examples/cloud/buckets"
	cohortcommand "github.com/slidesam/sam/examples/slidesam/cohort"
	"github.com/slidesam/sam/internal/cli"
	"github.com/slidesam/sam/internal/cohort"
)

var formats = filepath.Join("..", "..", "..", "internal", "wsi", "testdata", "formats")

// s3 starts a server that speaks S3 and returns an empty bucket's address and
// the parameters to reach it.
func s3(t *testing.T) (bucket, query string) {
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("lab"))
	h := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(h.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "key")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "eu-central-1")
	return "s3://lab", "?" + url.Values{"endpoint": {h.URL}, "use_path_style": {"true"}, "disable_https": {"true"}}.Encode()
}

// fill copies a folder to a bucket.
func fill(t *testing.T, address, dir, to string) {
	b, err := blob.OpenBucket(t.Context(), address)
	require.NoError(t, err)
	defer b.Close()
	require.NoError(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		c, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, p)
		return b.WriteAll(t.Context(), to+"/"+filepath.ToSlash(name), c, nil)
	}))
}

// TestSlides reads slides of every kind of format from a bucket with
// credentials and from the disk.
func TestSlides(t *testing.T) {
	bucket, query := s3(t)
	fill(t, bucket+query, formats, "slides")
	root, err := filepath.Abs(formats)
	require.NoError(t, err)
	for _, name := range []string{"scn-areas.scn", "ndpi-plain.ndpi", "dicom-native/", "mirax-stitching.mrxs", "zarr-v3-sharded/", "zarr-v2-raw/", "tiff-webp.tif"} {
		want, err := sam.OpenSlide(filepath.Join(formats, filepath.FromSlash(name)))
		require.NoError(t, err)
		defer want.Close()
		for _, address := range []string{bucket + "/slides/" + name + query, "file://" + filepath.ToSlash(root) + "/" + name} {
			if strings.HasPrefix(address, "file:") && strings.HasSuffix(name, "/") {
				continue // a folder of this machine is opened by its path
			}
			t.Run(name, func(t *testing.T) {
				got, err := sam.OpenSlide(address)
				require.NoError(t, err)
				defer got.Close()
				require.Equal(t, want.Levels(), got.Levels())
				assert.Equal(t, want.Format(), got.Format())
				for i, l := range got.Levels() {
					r := image.Rect(0, 0, l.W, l.H)
					x, err := got.ReadRegion(context.Background(), i, r)
					require.NoError(t, err)
					y, err := want.ReadRegion(context.Background(), i, r)
					require.NoError(t, err)
					assert.Equal(t, y.Pix, x.Pix)
				}
			})
		}
	}
	for address, wrong := range map[string]error{
		bucket + "/slides/nothing.svs" + query:    fs.ErrNotExist,
		"s3://elsewhere/slides/a.svs" + query:     fs.ErrNotExist,
		bucket + "/slides/README.md" + query:      nil,
		"s3://me:secret@lab/slides/a.svs" + query: nil,
		"s3:///a.svs" + query:                     nil,
	} {
		_, err := sam.OpenSlide(address)
		require.Error(t, err, address)
		if wrong != nil {
			require.ErrorIs(t, err, wrong, address)
		}
		assert.NotContains(t, err.Error(), "secret")
	}
}

func TestStore(t *testing.T) {
	bucket, query := s3(t)
	for _, address := range []string{bucket + "/a/run" + query, bucket + query, "file://" + filepath.ToSlash(t.TempDir()) + "/run"} {
		t.Run(strings.SplitN(address, ":", 2)[0], func(t *testing.T) {
			ctx := t.Context()
			s, err := cohort.OpenStore(ctx, address)
			require.NoError(t, err)
			defer s.Close()
			var out bytes.Buffer
			require.ErrorIs(t, s.Get(ctx, "slides/x", &out), fs.ErrNotExist)
			require.NoError(t, s.Delete(ctx, "slides/x"))
			require.NoError(t, s.Put(ctx, "slides/x", strings.NewReader("first")))
			require.NoError(t, s.Put(ctx, "slides/x", strings.NewReader("second")))
			require.NoError(t, s.Put(ctx, "other", strings.NewReader("")))
			require.NoError(t, s.Get(ctx, "slides/x", &out))
			assert.Equal(t, "second", out.String())
			// What cannot be read to its end is not stored.
			broken := io.MultiReader(strings.NewReader("third"), failing{})
			require.ErrorIs(t, s.Put(ctx, "slides/x", broken), errBroken)
			require.ErrorIs(t, s.Put(ctx, "slides/y", broken), errBroken)
			var names []string
			for name, err := range s.List(ctx, "slides/") {
				require.NoError(t, err)
				names = append(names, name)
			}
			assert.Equal(t, []string{"slides/x"}, names)
			out.Reset()
			require.NoError(t, s.Get(ctx, "slides/x", &out))
			assert.Equal(t, "second", out.String())
			require.NoError(t, s.Delete(ctx, "slides/x"))
			require.ErrorIs(t, s.Get(ctx, "slides/x", &out), fs.ErrNotExist)
		})
	}
	s, err := cohort.OpenStore(t.Context(), "s3://nowhere/run"+query)
	require.NoError(t, err)
	defer s.Close()
	require.Error(t, s.Put(t.Context(), "x", strings.NewReader("y")))
}

var errBroken = fmt.Errorf("broken")

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errBroken }

// TestCohort does the same small cohort in a folder, and with sheet, slides and
// results in a bucket, in two tasks: the same bytes.
func TestCohort(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: runs the bundled model")
	}
	bucket, query := s3(t)
	dir, plain := t.TempDir(), filepath.Join(t.TempDir(), "plain")
	src, err := os.ReadFile(filepath.Join(formats, "tiff-webp.tif"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.tif"), src, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad.tif"), []byte("II*\x00\x08\x00\x00\x00\x00\x00"), 0o600))
	sheet := "slide,id,mpp\n%sa.tif%s,a,0.5\n%sbad.tif%s,bad,0.5\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sheet.csv"), fmt.Appendf(nil, sheet, "", "", "", ""), 0o600))
	fill(t, bucket+query, dir, "in")
	store, err := cohort.OpenStore(t.Context(), bucket+"/in"+query)
	require.NoError(t, err)
	defer store.Close()
	require.NoError(t, store.Put(t.Context(), "sheet.csv", strings.NewReader(fmt.Sprintf(sheet, bucket+"/in/", query, bucket+"/in/", query))))

	call := func(want int, args ...string) string {
		t.Helper()
		var out bytes.Buffer
		code := cli.Main(t.Context(), append([]string{"slidesam", "cohort"}, args...), "v1", []cli.Command{cohortcommand.Command()},
			cli.IO{Stdout: &out, Stderr: &out, Env: func(string) string { return "" }})
		require.Equal(t, want, code, out.String())
		return out.String()
	}
	call(cli.ExitPartial, "-sheet", filepath.Join(dir, "sheet.csv"), "-out", plain)
	in, out := bucket+"/in/sheet.csv"+query, bucket+"/out"+query
	call(cli.ExitOK, "-sheet", in, "-out", out, "-plan")
	call(cli.ExitOK, "-sheet", in, "-out", out, "-shard", "0/2")
	call(cli.ExitPartial, "-sheet", in, "-out", out, "-shard", "1/2")
	call(cli.ExitPartial, "-sheet", in, "-out", out, "-merge")

	results, err := cohort.OpenStore(t.Context(), out)
	require.NoError(t, err)
	defer results.Close()
	for _, name := range []string{"slides/a/objects.geojson", "slides/a/objects.csv", "slides/a/labels.tif", "slides/a/overlay.png", "slides/a/index.html"} {
		want, err := os.ReadFile(filepath.Join(plain, filepath.FromSlash(name)))
		require.NoError(t, err)
		var got bytes.Buffer
		require.NoError(t, results.Get(t.Context(), name, &got), name)
		assert.Equal(t, sha256.Sum256(want), sha256.Sum256(got.Bytes()), name)
	}
	for _, name := range []string{cohort.TableFile, cohort.ReportFile, cohort.UnitsFile, "slides/bad/failed.json"} {
		require.NoError(t, results.Get(t.Context(), name, io.Discard), name)
	}
}
