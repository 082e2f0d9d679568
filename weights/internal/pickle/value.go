package pickle

// The Python values that Load returns are nil, bool, int64, float64, string,
// and pointers to the types below. Pointers, so that a value that occurs twice
// in a pickle is one value here, and that every value may be a map key.

// Bytes is a bytes or bytearray.
type Bytes struct{ Data []byte }

// List is a list, a set or a frozenset.
type List struct{ Items []any }

// Tuple is a tuple.
type Tuple struct{ Items []any }

// Dict is a dict, in order of insertion.
type Dict struct {
	Entries []Entry
	index   map[string]int // of string keys
}

// Entry is one item of a Dict.
type Entry struct{ Key, Value any }

// Get returns the value of a string key.
func (d *Dict) Get(key string) (any, bool) {
	i, ok := d.index[key]
	if !ok {
		return nil, false
	}
	return d.Entries[i].Value, true
}

// set adds an item. A string key that is already there has its value replaced;
// other keys are not looked at, since no caller asks for them.
func (d *Dict) set(key, value any) {
	if k, ok := key.(string); ok {
		if i, ok := d.index[k]; ok {
			d.Entries[i].Value = value
			return
		}
		if d.index == nil {
			d.index = map[string]int{}
		}
		d.index[k] = len(d.Entries)
	}
	d.Entries = append(d.Entries, Entry{key, value})
}

// Global is a name that the pickle refers to, such as torch.FloatStorage. It
// is nothing but its name.
type Global struct{ Module, Name string }

func (g *Global) String() string { return g.Module + "." + g.Name }

// Object is an inert placeholder for what Python would have made by calling
// code: Class says which. Its state is dropped. It also stands for integers of
// more than 64 bits, with Class "int".
type Object struct{ Class string }
