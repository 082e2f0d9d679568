package serve

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"math/bits"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/slidesam/sam"
)

const (
	tileSide    = 510 // of a Deep Zoom tile, without its overlap
	tileOverlap = 1
	thumbSide   = 256
	jpegQuality = 88
	tileBytes   = 96 << 20 // of encoded tiles that are kept
)

// secretNames are associated pictures that may show a patient's name.
var secretNames = []string{"label", "macro"}

// slideRoutes adds the routes of slides and their pictures.
func (s *Server) slideRoutes() {
	s.handle("GET /v1/slides", s.listSlides)
	s.handle("GET /v1/slides/{id}", s.withSlide(s.slideInfo))
	s.handle("GET /v1/slides/{id}/slide.dzi", s.withSlide(s.slideDZI))
	s.handle("GET /v1/slides/{id}/slide_files/{level}/{tile}", s.withSlide(s.slideTile))
	s.handle("GET /v1/slides/{id}/thumbnail", s.withSlide(s.thumbnail))
	s.handle("GET /v1/slides/{id}/associated/{name}", s.withSlide(s.associated))
}

// withSlide opens the slide that a request is about.
func (s *Server) withSlide(h func(http.ResponseWriter, *http.Request, *openSlide) error) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		o, release, err := s.slides.acquire(r.Context(), r.PathValue("id"))
		if err != nil {
			return err
		}
		defer release()
		return h(w, r, o)
	}
}

// slideSummary is a slide in the list.
type slideSummary struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	Path string `json:"path"` // in its folder
}

func (s *Server) listSlides(w http.ResponseWriter, r *http.Request) error {
	all, err := s.slides.list(r.Context())
	if err != nil {
		return err
	}
	out := make([]slideSummary, len(all))
	for i, f := range all {
		out[i] = slideSummary{f.id, f.name, f.rel}
	}
	writeJSON(w, http.StatusOK, out)
	return nil
}

// slideDetail is what the viewer needs to know of a slide.
type slideDetail struct {
	slideSummary
	Width      int      `json:"width"`
	Height     int      `json:"height"`
	MPP        *float64 `json:"mpp"` // null: unknown
	Objective  float64  `json:"objective"`
	Format     string   `json:"format"`
	Levels     int      `json:"levels"`
	Associated []string `json:"associated"`
	Digest     string   `json:"digest"`
	TileSize   int      `json:"tileSize"`
	Overlap    int      `json:"overlap"`
	MaxLevel   int      `json:"maxLevel"`
}

func (s *Server) slideInfo(w http.ResponseWriter, _ *http.Request, o *openSlide) error {
	d := slideDetail{
		slideSummary: slideSummary{o.id, o.name, o.rel}, Width: o.size.W, Height: o.size.H, Objective: o.slide.Objective(), Format: o.slide.Format(),
		Levels: len(o.slide.Levels()), Associated: append([]string{}, o.slide.AssociatedNames()...), Digest: o.digest, TileSize: tileSide, Overlap: tileOverlap, MaxLevel: maxLevel(o.size),
	}
	if o.mpp > 0 {
		d.MPP = &o.mpp
	}
	w.Header().Set("Cache-Control", "no-cache")
	writeJSON(w, http.StatusOK, d)
	return nil
}

// maxLevel is the Deep Zoom level of full resolution: level 0 is one pixel.
func maxLevel(s sam.Size) int { return bits.Len(uint(max(s.W, s.H) - 1)) }

// levelSize is the size of a level that is reduced 2^down times.
func levelSize(s sam.Size, down int) sam.Size {
	return sam.Size{H: (s.H + 1<<down - 1) >> down, W: (s.W + 1<<down - 1) >> down}
}

func (s *Server) slideDZI(w http.ResponseWriter, _ *http.Request, o *openSlide) error {
	w.Header().Set("Content-Type", "application/xml")
	_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?><Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="jpeg" Overlap="%d" TileSize="%d"><Size Width="%d" Height="%d"/></Image>`+"\n",
		tileOverlap, tileSide, o.size.W, o.size.H)
	return nil
}

func (s *Server) slideTile(w http.ResponseWriter, r *http.Request, o *openSlide) error {
	level, x, y, ok := parseTilePath(r.PathValue("level"), r.PathValue("tile"))
	top := maxLevel(o.size)
	if !ok || level < 0 || level > top {
		return refuse(http.StatusNotFound, "no such tile: want level/x_y.jpeg, levels 0 to %d", top)
	}
	size := levelSize(o.size, top-level)
	rect := image.Rect(x*tileSide-tileOverlap, y*tileSide-tileOverlap, (x+1)*tileSide+tileOverlap, (y+1)*tileSide+tileOverlap).Intersect(image.Rect(0, 0, size.W, size.H))
	if x < 0 || y < 0 || x*tileSide >= size.W || y*tileSide >= size.H {
		return refuse(http.StatusNotFound, "no such tile: level %d has %d x %d pixels", level, size.W, size.H)
	}
	key := fmt.Sprint(o.digest, " ", level, " ", x, " ", y)
	b, err := s.tiles.get(r.Context(), key, func(ctx context.Context) ([]byte, error) {
		leave, err := s.render.enter(ctx, 1)
		if err != nil {
			return nil, err
		}
		defer leave()
		img, err := o.read(ctx, float64(int(1)<<(top-level)), rect)
		if err != nil {
			return nil, err
		}
		return encodeJPEG(img)
	})
	if err != nil {
		return err
	}
	writeJPEG(w, r, o, b)
	return nil
}

func parseTilePath(levelText, tile string) (level, x, y int, ok bool) {
	level, e1 := strconv.Atoi(levelText)
	name, ext, _ := strings.Cut(tile, ".")
	xs, ys, both := strings.Cut(name, "_")
	x, e2 := strconv.Atoi(xs)
	y, e3 := strconv.Atoi(ys)
	most := 1 << 24
	return level, x, y, e1 == nil && e2 == nil && e3 == nil && both && (ext == "jpeg" || ext == "jpg") && x < most && y < most
}

// read returns a rectangle of the slide reduced down times, on white.
func (o *openSlide) read(ctx context.Context, down float64, rect image.Rectangle) (*image.RGBA, error) {
	img, err := o.slide.ReadAt(ctx, o.pixel()*down, rect)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, refuse(http.StatusUnprocessableEntity, "this part of the slide is damaged")
	}
	out := image.NewRGBA(image.Rect(0, 0, rect.Dx(), rect.Dy()))
	draw.Draw(out, out.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.Draw(out, out.Rect, img, img.Rect.Min, draw.Over)
	return out, nil
}

func encodeJPEG(img image.Image) ([]byte, error) {
	var b bytes.Buffer
	err := jpeg.Encode(&b, img, &jpeg.Options{Quality: jpegQuality})
	return b.Bytes(), err
}

// writeJPEG writes a picture of the slide. An address that has the slide's
// digest stands for the same picture for ever.
func writeJPEG(w http.ResponseWriter, r *http.Request, o *openSlide, b []byte) {
	w.Header().Set("Content-Type", "image/jpeg")
	if r.URL.Query().Get("v") == o.digest {
		w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	} else {
		w.Header().Set("Cache-Control", "no-cache")
	}
	_, _ = w.Write(b)
}

func (s *Server) thumbnail(w http.ResponseWriter, r *http.Request, o *openSlide) error {
	b, err := s.tiles.get(r.Context(), o.digest+" thumbnail", func(ctx context.Context) ([]byte, error) {
		leave, err := s.render.enter(ctx, 1)
		if err != nil {
			return nil, err
		}
		defer leave()
		down := max(1, float64(max(o.size.W, o.size.H))/thumbSide)
		img, err := o.read(ctx, down, image.Rect(0, 0, max(1, int(float64(o.size.W)/down)), max(1, int(float64(o.size.H)/down))))
		if err != nil {
			return nil, err
		}
		return encodeJPEG(img)
	})
	if err != nil {
		return err
	}
	writeJPEG(w, r, o, b)
	return nil
}

// associated serves the slide's other pictures. Those that may show a name
// must be asked for with reveal=true.
func (s *Server) associated(w http.ResponseWriter, r *http.Request, o *openSlide) error {
	name := r.PathValue("name")
	if !slices.Contains(o.slide.AssociatedNames(), name) {
		return refuse(http.StatusNotFound, "the slide has no such picture")
	}
	if slices.Contains(secretNames, name) && r.URL.Query().Get("reveal") != "true" {
		return refuse(http.StatusForbidden, "the picture may show a patient's name; ask with reveal=true")
	}
	img, err := o.slide.Associated(name)
	if err != nil {
		return refuse(http.StatusUnprocessableEntity, "the picture is damaged")
	}
	b, err := encodeJPEG(img)
	if err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "image/jpeg")
	_, _ = w.Write(b)
	return nil
}
