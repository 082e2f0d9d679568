//go:build openslide && (linux || darwin)

package wsi

// OpenWithLibrary opens any slide through the OpenSlide library.
func OpenWithLibrary(path string, o Options) (*Slide, error) { return viaOpenSlide(path, o, ErrFormat) }

// FromARGB is fromARGB.
func FromARGB(argb []uint32) []byte { return fromARGB(argb) }
