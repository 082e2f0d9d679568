//go:build openslide && (linux || darwin)

package wsi

import (
	"errors"
	"fmt"
	"image"
	"os"
	"runtime"
	"strconv"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/slidesam/sam/internal/tiff"
)

// osr is a handle of the library.
type osr uintptr

// openslideLib is the OpenSlide library, found at run time.
type openslideLib struct {
	detect      func(path string) string
	open        func(path string) osr
	close       func(osr)
	fault       func(osr) string
	levels      func(osr) int32
	size        func(o osr, level int32, w, h *int64)
	downsample  func(o osr, level int32) float64
	read        func(o osr, dst *uint32, x, y int64, level int32, w, h int64)
	property    func(o osr, name string) string
	pictures    func(osr) unsafe.Pointer // char **, ended by a null
	pictureSize func(o osr, name string, w, h *int64)
	picture     func(o osr, name string, dst *uint32)
	profileSize func(osr) int64                 // nil before 4.0
	profile     func(o osr, dst unsafe.Pointer) // nil before 4.0
}

// loadOpenSlide loads the library once. Names are those of OpenSlide 4 and 3.
var loadOpenSlide = sync.OnceValues(func() (*openslideLib, error) {
	names := []string{"libopenslide.so.1", "libopenslide.so.0"}
	if runtime.GOOS == "darwin" {
		names = []string{"libopenslide.1.dylib", "libopenslide.0.dylib", "/opt/homebrew/lib/libopenslide.1.dylib", "/usr/local/lib/libopenslide.1.dylib"}
	}
	var faults []error
	for _, n := range names {
		h, err := purego.Dlopen(n, purego.RTLD_NOW|purego.RTLD_LOCAL)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		l := &openslideLib{}
		for name, f := range map[string]any{
			"detect_vendor": &l.detect, "open": &l.open, "close": &l.close, "get_error": &l.fault, "get_level_count": &l.levels,
			"get_level_dimensions": &l.size, "get_level_downsample": &l.downsample, "read_region": &l.read, "get_property_value": &l.property,
			"get_associated_image_names": &l.pictures, "get_associated_image_dimensions": &l.pictureSize, "read_associated_image": &l.picture,
		} {
			at, err := purego.Dlsym(h, "openslide_"+name)
			if err != nil {
				return nil, fmt.Errorf("OpenSlide library %s: %w", n, err)
			}
			purego.RegisterFunc(f, at)
		}
		if at, err := purego.Dlsym(h, "openslide_get_icc_profile_size"); err == nil {
			purego.RegisterFunc(&l.profileSize, at)
			purego.RegisterLibFunc(&l.profile, h, "openslide_read_icc_profile")
		}
		return l, nil
	}
	return nil, fmt.Errorf("the OpenSlide library is not installed: %w", errors.Join(faults...))
})

// viaOpenSlide opens a slide through the OpenSlide library; cause is why
// this package does not read it, and is returned if the library does not
// either.
func viaOpenSlide(path string, o Options, cause error) (*Slide, error) {
	l, err := loadOpenSlide()
	if err != nil {
		return nil, fmt.Errorf("%w; %w", cause, err)
	}
	vendor := l.detect(path)
	if vendor == "" {
		return nil, fmt.Errorf("%w; OpenSlide does not know it", cause)
	}
	h := &openslideFile{lib: l, path: path}
	if err := h.open(); err != nil {
		return nil, err
	}
	s := &Slide{opt: o, cache: newTileCache(o.CacheBytes), assoc: map[string]func() (image.Image, error){}, close: h.close}
	s.meta = Meta{Format: vendor, Description: h.text("openslide.comment"), ICC: h.icc()}
	s.identity = h.text("openslide.quickhash-1")
	s.meta.Objective = decimal(h.text("openslide.objective-power"))
	var bounds image.Rectangle // of level 0
	whole := true
	for k := range int(l.levels(h.osr)) {
		var w, ht int64
		if l.size(h.osr, int32(k), &w, &ht); w <= 0 || ht <= 0 || w > 1<<31 || ht > 1<<31 {
			h.close()
			return nil, fmt.Errorf("OpenSlide: level %d of %d x %d", k, w, ht)
		}
		if k == 0 {
			bounds = h.bounds(int(w), int(ht))
		}
		f, lw, lh := l.downsample(h.osr, int32(k)), int(w), int(ht)
		if k == 0 {
			whole = bounds.Size() == image.Pt(lw, lh)
		}
		if !whole {
			lw, lh = max(1, min(lw, int(float64(bounds.Dx())/f))), max(1, min(lh, int(float64(bounds.Dy())/f)))
		}
		s.addLevel(&openslideLevel{h, k, lw, lh, h.tileSide(k, "width"), h.tileSide(k, "height"), f, bounds.Min}, lw, lh)
	}
	for _, name := range h.names() {
		s.addAssociated(name, func() (image.Image, error) { return h.associated(name) })
	}
	s.setMPP(decimal(h.text("openslide.mpp-x")), decimal(h.text("openslide.mpp-y")))
	s.overrideMPP(o)
	if err := s.checkLevels(); err != nil {
		h.close()
		return nil, err
	}
	return s, nil
}

// openslideFile is an open file of the library. A handle that met an error
// answers nothing but that error from then on, so it is opened anew.
type openslideFile struct {
	lib  *openslideLib
	path string
	mu   sync.RWMutex // held for writing by open and close
	osr  osr          // 0: closed, or reopening failed
	shut bool         // by close
}

func (h *openslideFile) open() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reopen()
}

// reopen is open for a caller that holds mu for writing.
func (h *openslideFile) reopen() error {
	if h.osr != 0 {
		h.lib.close(h.osr)
	}
	if h.osr = h.lib.open(h.path); h.osr == 0 {
		return fmt.Errorf("OpenSlide cannot open it: %w", ErrFormat)
	}
	if f := h.lib.fault(h.osr); f != "" {
		h.lib.close(h.osr)
		h.osr = 0
		return fmt.Errorf("OpenSlide: %s: %w", f, ErrFormat)
	}
	return nil
}

func (h *openslideFile) close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.shut = true
	if h.osr != 0 {
		h.lib.close(h.osr)
		h.osr = 0
	}
	return nil
}

// call runs f on the handle and returns the error that it left there. As the
// error may be that of another goroutine's call on the same handle, f runs
// once more, alone and on a new one. So it does after a reopening that failed,
// say because the network was away.
func (h *openslideFile) call(f func(osr)) error {
	h.mu.RLock()
	fault := "not open"
	if h.osr != 0 {
		f(h.osr)
		fault = h.lib.fault(h.osr)
	}
	h.mu.RUnlock()
	if fault == "" {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.shut {
		return os.ErrClosed
	}
	if err := h.reopen(); err != nil {
		return err
	}
	f(h.osr)
	if fault = h.lib.fault(h.osr); fault == "" {
		return nil
	}
	if err := h.reopen(); err != nil {
		return err
	}
	return fmt.Errorf("OpenSlide: %s", fault)
}

func (h *openslideFile) text(name string) string { return h.lib.property(h.osr, name) }

// bounds returns the part of level 0, of w x h pixels, that was scanned: QuPath
// shows that and counts from its corner. Without properties of that it is all.
func (h *openslideFile) bounds(w, ht int) image.Rectangle {
	all := image.Rect(0, 0, w, ht)
	var v [4]int
	for i, name := range []string{"x", "y", "width", "height"} {
		n, err := strconv.Atoi(h.text("openslide.bounds-" + name))
		if err != nil || n < 0 || n > 1<<31 {
			return all
		}
		v[i] = n
	}
	if r := image.Rect(v[0], v[1], v[0]+v[2], v[1]+v[3]).Intersect(all); !r.Empty() {
		return r
	}
	return all
}

// tileSide returns the side of a level's tiles, 512 if it has none of use.
func (h *openslideFile) tileSide(level int, axis string) int {
	n, _ := strconv.Atoi(h.text(fmt.Sprintf("openslide.level[%d].tile-%s", level, axis)))
	if n < 64 || n > 2048 {
		return 512
	}
	return n
}

func (h *openslideFile) icc() []byte {
	if h.lib.profileSize == nil {
		return nil
	}
	n := h.lib.profileSize(h.osr)
	if n <= 0 || n > 1<<26 {
		return nil
	}
	b := make([]byte, n)
	h.lib.profile(h.osr, unsafe.Pointer(&b[0]))
	return b
}

// names returns the names of the associated pictures.
func (h *openslideFile) names() (out []string) {
	at := h.lib.pictures(h.osr)
	for ; at != nil; at = unsafe.Add(at, unsafe.Sizeof(at)) {
		p := *(*unsafe.Pointer)(at)
		if p == nil {
			break
		}
		n := 0
		for *(*byte)(unsafe.Add(p, n)) != 0 {
			n++
		}
		out = append(out, string(unsafe.Slice((*byte)(p), n)))
	}
	return out
}

func (h *openslideFile) associated(name string) (image.Image, error) {
	const limit = 1 << 26
	var pix []byte
	var w, ht int64
	err := h.call(func(o osr) {
		if h.lib.pictureSize(o, name, &w, &ht); w > 0 && ht > 0 && w <= limit/ht {
			argb := make([]uint32, w*ht)
			h.lib.picture(o, name, &argb[0])
			pix = fromARGB(argb)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("wsi: associated picture %q: %w", name, err)
	}
	if pix == nil {
		return nil, fmt.Errorf("wsi: associated picture %q of %d x %d, over %d pixels or none", name, w, ht, limit)
	}
	return &image.RGBA{Pix: pix, Stride: int(4 * w), Rect: image.Rect(0, 0, int(w), int(ht))}, nil
}

// openslideLevel is one level as a raster. Tiles are read where the library
// places them on level 0, so that a level whose downsample is no integer lies
// up to half a pixel of level 0 off.
type openslideLevel struct {
	file         *openslideFile
	level        int
	w, h         int
	tileW, tileH int
	downsample   float64
	origin       image.Point // of the slide on the library's level 0
}

func (l *openslideLevel) grid() (cols, rows, tileW, tileH int) {
	return (l.w-1)/l.tileW + 1, (l.h-1)/l.tileH + 1, l.tileW, l.tileH
}

func (l *openslideLevel) tile(col, row int) (*tiff.Segment, error) {
	x, y := col*l.tileW, row*l.tileH
	w, h := min(l.tileW, l.w-x), min(l.tileH, l.h-y)
	argb := make([]uint32, w*h)
	at := func(v int) int64 { return int64(float64(v)*l.downsample + 0.5) }
	err := l.file.call(func(o osr) {
		l.file.lib.read(o, &argb[0], int64(l.origin.X)+at(x), int64(l.origin.Y)+at(y), int32(l.level), int64(w), int64(h))
	})
	if err != nil {
		return nil, err
	}
	return &tiff.Segment{W: w, H: h, Pix: fromARGB(argb)}, nil
}

// fromARGB turns words of premultiplied alpha, red, green and blue into
// image.RGBA's bytes, which are premultiplied as well.
func fromARGB(argb []uint32) []byte {
	pix := make([]byte, 4*len(argb))
	for i, v := range argb {
		p := pix[4*i : 4*i+4 : 4*i+4]
		p[0], p[1], p[2], p[3] = byte(v>>16), byte(v>>8), byte(v), byte(v>>24)
	}
	return pix
}
