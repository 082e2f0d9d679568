package weights

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Spec is the name and the shape of a weight that a network needs.
type Spec struct {
	Name  string
	Shape []int
}

// harmless are tensors that some files hold and no network needs: the picture
// statistics that Meta's Sam keeps as buffers but does not save, and the count
// of PyTorch's AveragedModel.
var harmless = map[string]bool{"pixel_mean": true, "pixel_std": true, "n_averaged": true}

// Bind fills the Param fields of a network from a checkpoint.
//
// dst is a pointer to a struct. Fields with a tag `weight:"name"` are walked:
// a Param or *Param is bound to the tensor of that name; a struct, a pointer to
// one, an interface that holds such a pointer, or a slice of any of these adds its name and a dot (and, for a slice,
// the index and a dot) to the names inside. The tag may hold dots itself. With
// `weight:"name,optional"` everything below may be absent; a nil pointer is
// allowed only there and with `weight:"name,nilable"`, below which a pointer that
// is set asks for all it has.
//
// Binding is strict. Each tensor that is missing, that no field asks for, or
// that has another shape than its field is a fault, wrapping ErrMissing,
// ErrUnexpected or ErrShape. The error joins all faults, sorted by name; with
// an error, no field may be used. pixel_mean, pixel_std and
// n_averaged are ignored.
func Bind(c *Checkpoint, dst any) error {
	type fault struct {
		name string
		err  error
	}
	var faults []fault
	used := map[string]bool{}
	err := walk(dst, func(name string, p *Param, optional bool) {
		p.name, p.tensor = name, nil
		t, ok := c.tensors[name]
		if used[name] {
			faults = append(faults, fault{name, errors.New("bound to two fields")})
			return
		}
		used[name] = true
		switch {
		case ok:
			if err := p.bind(t); err != nil {
				faults = append(faults, fault{name, err})
			}
		case !optional:
			faults = append(faults, fault{name, fmt.Errorf("%w, want shape %v", ErrMissing, p.Shape)})
		}
	})
	if err != nil {
		return fmt.Errorf("weights: bind: %w", err)
	}
	for _, name := range c.names {
		if !used[name] && !harmless[name] {
			faults = append(faults, fault{name, fmt.Errorf("%w, shape %v", ErrUnexpected, c.tensors[name].Shape)})
		}
	}
	slices.SortStableFunc(faults, func(a, b fault) int { return cmp.Compare(a.name, b.name) })
	errs := make([]error, len(faults))
	for i, f := range faults {
		errs[i] = fmt.Errorf("weights: bind %s: %w", f.name, f.err)
	}
	return errors.Join(errs...)
}

// Specs returns the name and shape of every field that is not optional, in the
// order of declaration. dst is as in Bind; fields that Bind would refuse are
// left out.
func Specs(dst any) []Spec {
	var specs []Spec
	_ = walk(dst, func(name string, p *Param, optional bool) {
		if !optional {
			specs = append(specs, Spec{Name: name, Shape: slices.Clone(p.Shape)})
		}
	})
	return specs
}

// walk calls f for each Param under dst. Fields of types that cannot be bound
// are reported, all in one error.
func walk(dst any, f func(name string, p *Param, optional bool)) error {
	v := reflect.ValueOf(dst)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return fmt.Errorf("%T is not a pointer to a struct", dst)
	}
	w := walker{visit: f}
	w.fields(v.Elem(), "", false)
	return errors.Join(w.errs...)
}

type walker struct {
	visit func(name string, p *Param, optional bool)
	errs  []error
}

var paramType = reflect.TypeFor[Param]()

func (w *walker) fields(v reflect.Value, prefix string, optional bool) {
	t := v.Type()
	for i := range t.NumField() {
		tag, ok := t.Field(i).Tag.Lookup("weight")
		if !ok {
			continue
		}
		name, option, _ := strings.Cut(tag, ",")
		switch {
		case name == "" || option != "" && option != "optional" && option != "nilable":
			w.fault("field %s.%s: tag %q, want \"name\", \"name,optional\" or \"name,nilable\"", t, t.Field(i).Name, tag)
		case !t.Field(i).IsExported():
			w.fault("field %s.%s: not exported", t, t.Field(i).Name)
		case option == "nilable" && v.Field(i).Kind() == reflect.Pointer && v.Field(i).IsNil():
		default:
			w.value(v.Field(i), prefix+name, optional || option == "optional")
		}
	}
}

func (w *walker) value(v reflect.Value, name string, optional bool) {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			if !optional {
				w.fault("%s: nil %s", name, v.Type())
			}
			return
		}
		w.value(v.Elem(), name, optional)
	case reflect.Struct:
		if v.Type() == paramType {
			w.visit(name, v.Addr().Interface().(*Param), optional)
			return
		}
		w.fields(v, name+".", optional)
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			w.value(v.Index(i), name+"."+strconv.Itoa(i), optional)
		}
	default:
		w.fault("%s: cannot bind a %s", name, v.Type())
	}
}

func (w *walker) fault(format string, args ...any) {
	w.errs = append(w.errs, fmt.Errorf(format, args...))
}
