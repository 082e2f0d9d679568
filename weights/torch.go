package weights

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/slidesam/sam/weights/internal/pickle"
	"github.com/slidesam/sam/weights/internal/zipfile"
)

// readTorch returns the tensors of a file that torch.save wrote, by their path
// in it: the keys of nested dicts joined by dots. No values are read. The
// second map says what is at the paths that hold something that looks like a
// tensor and cannot be read as one.
func readTorch(file *mapping, entries []zipfile.Entry) (map[string]*Tensor, map[string]string, error) {
	z, err := newTorchFile(file, entries)
	if err != nil {
		return nil, nil, err
	}
	root, err := pickle.Load(z.pickle, pickle.Hooks{Call: z.call, Persistent: z.storage})
	if err != nil {
		return nil, nil, err
	}
	switch v := root.(type) {
	case *pickle.Dict:
		f := flattener{tensors: map[string]*Tensor{}, opaque: map[string]string{}, budget: 1<<20 + 16*len(z.pickle)}
		if err = f.dict(v, "", 0); err == nil {
			err = checkShared(f.tensors, len(file.data))
		}
		return f.tensors, f.opaque, err
	case *pickle.Object:
		return nil, nil, fmt.Errorf("a whole Python object of %s, not a state dict: save model.state_dict() instead", pickle.Kind(v))
	case *torchTensor:
		return nil, nil, errors.New("a single tensor, not a state dict")
	}
	return nil, nil, fmt.Errorf("a %s, not a state dict", pickle.Kind(root))
}

// maxShared is how many times the size of the file its tensors may take
// together. Tied weights and state dicts that are there twice share storages;
// a file of a megabyte could name one storage ten thousand times.
const maxShared = 16

func checkShared(tensors map[string]*Tensor, size int) error {
	left := maxShared * size
	for _, t := range tensors {
		if left -= t.Len() * t.DType.Size(); left < 0 {
			return fmt.Errorf("tensors that share storages take more than %d times the file: save each with .clone()", maxShared)
		}
	}
	return nil
}

// torchFile is the zip archive torch.save writes: <root>/data.pkl and the
// storages that it refers to, <root>/data/<key>.
type torchFile struct {
	file   *mapping
	pickle []byte
	big    bool // storages are big-endian
	data   map[string]*zipEntry
}

func newTorchFile(file *mapping, entries []zipfile.Entry) (*torchFile, error) {
	root := ""
	for _, e := range entries {
		if path.Base(e.Name) == "data.pkl" {
			root = strings.TrimSuffix(e.Name, "data.pkl")
		}
	}
	z := &torchFile{file: file, data: map[string]*zipEntry{}}
	found := false
	for _, e := range entries {
		name, ok := strings.CutPrefix(e.Name, root)
		if !ok {
			continue
		}
		if strings.HasPrefix(name, "code/") || name == "constants.pkl" {
			return nil, errors.New("a TorchScript archive: load it with torch.jit.load and save its state_dict()")
		}
		key, isData := strings.CutPrefix(name, "data/")
		if !isData && name != "data.pkl" && name != "byteorder" {
			continue
		}
		if e.Method != zipfile.Store {
			return nil, fmt.Errorf("%q is compressed, which torch.save never does: load the file with torch and save it again", e.Name)
		}
		ze := &zipEntry{file: file, Entry: e}
		switch {
		case isData:
			z.data[key] = ze
			continue
		case found && name == "data.pkl":
			return nil, errors.New("two pickles in one archive")
		}
		b, err := ze.bytes()
		if err != nil {
			return nil, err
		}
		if name == "data.pkl" {
			z.pickle, found = b, true
			continue
		}
		switch order := string(b); order {
		case "little":
		case "big":
			z.big = true
		default:
			return nil, fmt.Errorf("byte order %.10q is unknown", order)
		}
	}
	if !found {
		return nil, errors.New("a zip archive without a state dict (data.pkl) or arrays (.npy)")
	}
	return z, nil
}

// torchStorage is a persistent id: a run of elements of one type.
type torchStorage struct {
	entry *zipEntry
	dtype DType
	numel int
}

// torchTensor is a tensor of the pickle.
type torchTensor struct{ view *view }

var torchStorages = map[string]DType{
	"FloatStorage": Float32, "DoubleStorage": Float64, "HalfStorage": Float16, "BFloat16Storage": BFloat16,
	"LongStorage": Int64, "IntStorage": Int32, "ShortStorage": Int16, "CharStorage": Int8,
	"ByteStorage": Uint8, "BoolStorage": Bool,
}

// storage reads ('storage', class, key, location, number of elements).
func (z *torchFile) storage(id any) (any, error) {
	t, ok := id.(*pickle.Tuple)
	if !ok || len(t.Items) < 5 || t.Items[0] != "storage" {
		return nil, fmt.Errorf("persistent id of a %s, want a storage", pickle.Kind(id))
	}
	class, ok1 := t.Items[1].(*pickle.Global)
	key, ok2 := t.Items[2].(string)
	numel, ok3 := t.Items[4].(int64)
	if !ok1 || !ok2 || !ok3 || numel < 0 {
		return nil, errors.New("damaged storage")
	}
	dtype, ok := torchStorages[class.Name]
	if !ok || class.Module != "torch" {
		return &pickle.Object{Class: class.String()}, nil // quantized, complex, untyped
	}
	entry, ok := z.data[key]
	if !ok {
		return nil, fmt.Errorf("storage %.20q is not in the archive", key)
	}
	if numel > int64(entry.Size/dtype.Size()) {
		return nil, fmt.Errorf("storage %.20q: %d elements of %v in %d bytes", key, numel, dtype, entry.Size)
	}
	return &torchStorage{entry, dtype, int(numel)}, nil
}

// call makes values of the few classes that state dicts need.
func (z *torchFile) call(class *pickle.Global, args []any) (any, bool, error) {
	switch class.String() {
	case "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2":
		return z.tensor(args)
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
		if len(args) == 0 {
			return nil, false, errors.New("no tensor")
		}
		return args[0], true, nil
	case "torch._tensor._rebuild_from_type_v2": // (function, class, arguments, state)
		if len(args) < 3 {
			return nil, false, errors.New("damaged tensor")
		}
		f, ok1 := args[0].(*pickle.Global)
		t, ok2 := args[2].(*pickle.Tuple)
		if !ok1 || !ok2 || f.Name != "_rebuild_tensor_v2" {
			return nil, false, nil
		}
		return z.tensor(t.Items)
	case "torch.Size":
		if len(args) == 1 {
			return args[0], true, nil
		}
	}
	return nil, false, nil
}

// maxRank is the largest number of axes that is read. SAM's weights have 4.
const maxRank = 8

// tensor reads (storage, offset, size, stride, ...).
func (z *torchFile) tensor(args []any) (any, bool, error) {
	if len(args) < 4 {
		return nil, false, fmt.Errorf("%d arguments, want 4 or more", len(args))
	}
	s, ok := args[0].(*torchStorage)
	if !ok {
		return nil, false, nil // of a type that is not read
	}
	off, ok1 := args[1].(int64)
	shape, ok2 := ints(args[2])
	strides, ok3 := ints(args[3])
	if !ok1 || !ok2 || !ok3 || off < 0 {
		return nil, false, errors.New("damaged tensor")
	}
	if off > int64(s.numel) {
		return nil, false, fmt.Errorf("offset %d in a storage of %d", off, s.numel)
	}
	es := s.dtype.Size()
	v, err := newView(view{
		file: z.file, dtype: s.dtype, big: z.big,
		off: s.entry.Off + int(off)*es, size: (s.numel - int(off)) * es,
		shape: shape, strides: strides, sum: s.entry,
	})
	if err != nil {
		return nil, false, err
	}
	return &torchTensor{view: v}, true, nil
}

// ints returns the items of a tuple or list of numbers.
func ints(v any) ([]int, bool) {
	var items []any
	switch v := v.(type) {
	case *pickle.Tuple:
		items = v.Items
	case *pickle.List:
		items = v.Items
	default:
		return nil, false
	}
	if len(items) > maxRank {
		return nil, false
	}
	out := make([]int, len(items))
	for i, it := range items {
		n, ok := it.(int64)
		if !ok || n < 0 || n > 1<<40 {
			return nil, false
		}
		out[i] = int(n)
	}
	return out, true
}

// flattener collects the tensors of nested dicts.
type flattener struct {
	tensors map[string]*Tensor
	opaque  map[string]string
	on      []*pickle.Dict // the dicts that are being walked
	budget  int            // bytes of names still allowed
}

const maxNesting = 8

func (f *flattener) dict(d *pickle.Dict, prefix string, depth int) error {
	if depth > maxNesting || slices.Contains(f.on, d) {
		return nil
	}
	f.on = append(f.on, d)
	defer func() { f.on = f.on[:len(f.on)-1] }()
	for _, e := range d.Entries {
		key, ok := e.Key.(string)
		cost := 16 // less than two bytes of the pickle give
		if ok {
			cost = 64 + len(prefix) + len(key)
		}
		// A dict that occurs many times could otherwise multiply.
		if f.budget -= cost; f.budget < 0 {
			return errors.New("more names than the file has room for")
		}
		if !ok {
			continue // the state of an optimizer, say
		}
		name := prefix + key
		switch v := e.Value.(type) {
		case *torchTensor:
			if _, ok := f.tensors[name]; ok {
				return fmt.Errorf("two tensors named %s", name)
			}
			f.tensors[name] = &Tensor{Name: name, Shape: v.view.shape, DType: v.view.dtype, src: v.view}
		case *pickle.Dict:
			if err := f.dict(v, name+".", depth+1); err != nil {
				return err
			}
		case *pickle.Object:
			f.opaque[name] = v.Class
		}
	}
	return nil
}
