// Package pickle reads Python pickles as data. It calls nothing: where a
// pickle asks for a call, the caller's Hooks may make a value of it, and it
// becomes a placeholder otherwise.
//
//	v, err := pickle.Load(data, pickle.Hooks{})
//	d, ok := v.(*pickle.Dict)
//
// Source: the opcodes of protocols 0 to 5 as the pickletools module of
// Python 3 documents them.
package pickle

import (
	"errors"
	"fmt"
)

// Hooks make values of what a pickle cannot say by itself. A nil hook leaves a
// placeholder.
type Hooks struct {
	// Call is asked for the value of class(args...). It returns false to leave
	// a placeholder, and an error if the arguments are not what class takes.
	Call func(class *Global, args []any) (value any, ok bool, err error)
	// Persistent turns a persistent id into a value.
	Persistent func(id any) (any, error)
}

// Load bounds. A pickle of n bytes costs at most budgetBase + budgetPerByte*n
// bytes: more than real checkpoints need, which take 3 to 6 per byte.
const (
	budgetBase    = 1 << 20
	budgetPerByte = 24
	maxStack      = 1 << 20
)

// What values cost, with slice growth and boxing, rounded up.
const (
	costSlot   = 16  // a stack or list slot
	costScalar = 16  // a boxed number
	costHeader = 64  // a List, Tuple, Dict, Object
	costEntry  = 160 // a Dict entry with its index, or a memo entry
)

// Load returns the value of the pickle at the start of data. It returns an
// error for a malformed pickle and for one that costs too much; it never
// panics and never runs anything.
func Load(data []byte, hooks Hooks) (any, error) {
	m := &machine{
		r:      reader{data: data},
		hooks:  hooks,
		memo:   map[uint64]any{},
		budget: budgetBase + budgetPerByte*len(data),
	}
	v, err := m.run()
	if err != nil {
		return nil, fmt.Errorf("pickle: byte %d of %d: %w", m.r.opAt, len(data), err)
	}
	return v, nil
}

type machine struct {
	r      reader
	hooks  Hooks
	stack  []any
	marks  []int
	memo   map[uint64]any
	budget int
}

var (
	errBudget    = errors.New("takes too much memory for its size")
	errUnderflow = errors.New("stack is empty")
	errNoMark    = errors.New("no mark on the stack")
)

// charge counts n bytes.
func (m *machine) charge(n int) error {
	if m.budget -= n; m.budget < 0 {
		return errBudget
	}
	return nil
}

// push adds a value that costs n bytes besides its slot.
func (m *machine) push(v any, n int) error {
	if len(m.stack) >= maxStack {
		return errors.New("stack is too deep")
	}
	if len(m.stack) == cap(m.stack) {
		n += costSlot * max(16, len(m.stack))
	}
	if err := m.charge(n); err != nil {
		return err
	}
	m.stack = append(m.stack, v)
	return nil
}

// floor is the height that pops may not go below: that of the last mark.
func (m *machine) floor() int {
	if len(m.marks) == 0 {
		return 0
	}
	return m.marks[len(m.marks)-1]
}

func (m *machine) pop() (any, error) {
	if len(m.stack) <= m.floor() {
		return nil, errUnderflow
	}
	v := m.stack[len(m.stack)-1]
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

// top returns the last value without removing it.
func (m *machine) top() (any, error) {
	if len(m.stack) <= m.floor() {
		return nil, errUnderflow
	}
	return m.stack[len(m.stack)-1], nil
}

// popMark removes the last mark and the values above it. The result is valid
// until the next push.
func (m *machine) popMark() ([]any, error) {
	if len(m.marks) == 0 {
		return nil, errNoMark
	}
	at := m.floor()
	m.marks = m.marks[:len(m.marks)-1]
	items := m.stack[at:]
	m.stack = m.stack[:at]
	return items, nil
}

// clone copies items into a slice of their own.
func (m *machine) clone(items []any) ([]any, error) {
	if err := m.charge(costHeader + costSlot*len(items)); err != nil {
		return nil, err
	}
	return append(make([]any, 0, len(items)), items...), nil
}

func (m *machine) put(index uint64) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	if err := m.charge(costEntry); err != nil {
		return err
	}
	m.memo[index] = v
	return nil
}

func (m *machine) get(index uint64) error {
	v, ok := m.memo[index]
	if !ok {
		return fmt.Errorf("memo %d is not set", index)
	}
	return m.push(v, 0)
}

// extend adds items to the list, or placeholder, on the stack.
func (m *machine) extend(items []any) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	switch l := v.(type) {
	case *List:
		if err := m.charge(2 * costSlot * len(items)); err != nil {
			return err
		}
		l.Items = append(l.Items, items...)
	case *Object, *Bytes: // a subclass of list, or a bytearray: dropped
	default:
		return fmt.Errorf("append to a %s", Kind(v))
	}
	return nil
}

// setItems adds keys and values to the dict, or placeholder, on the stack.
func (m *machine) setItems(items []any) error {
	v, err := m.top()
	if err != nil {
		return err
	}
	if len(items)%2 != 0 {
		return errors.New("a key without a value")
	}
	switch d := v.(type) {
	case *Dict:
		return m.fill(d, items)
	case *Object: // a subclass of dict: dropped
	default:
		return fmt.Errorf("set an item of a %s", Kind(v))
	}
	return nil
}

func (m *machine) fill(d *Dict, items []any) error {
	if len(items)%2 != 0 {
		return errors.New("a key without a value")
	}
	if err := m.charge(costEntry * len(items) / 2); err != nil {
		return err
	}
	for i := 0; i < len(items); i += 2 {
		d.set(items[i], items[i+1])
	}
	return nil
}

// call replaces class(args...) by what the hook makes of it.
func (m *machine) call(class, args any) error {
	g, ok := class.(*Global)
	if !ok {
		o, ok := class.(*Object)
		if !ok {
			return fmt.Errorf("call of a %s", Kind(class))
		}
		return m.push(o, 0) // what a placeholder returns is a placeholder
	}
	t, ok := args.(*Tuple)
	if !ok {
		return fmt.Errorf("call of %s with a %s, want a tuple", g, Kind(args))
	}
	if g.Module == "collections" && (g.Name == "OrderedDict" || g.Name == "defaultdict") {
		return m.newDict(g, t.Items)
	}
	if m.hooks.Call != nil {
		v, ok, err := m.hooks.Call(g, t.Items)
		if err != nil {
			return fmt.Errorf("%s: %w", g, err)
		}
		if ok {
			return m.push(v, costHeader+costEntry*len(t.Items))
		}
	}
	return m.push(&Object{Class: g.String()}, costHeader+len(g.Module)+len(g.Name))
}

// newDict makes the dict of collections.OrderedDict([[key, value], ...]) or
// collections.defaultdict(factory).
func (m *machine) newDict(g *Global, args []any) error {
	d := &Dict{}
	if len(args) == 0 || g.Name == "defaultdict" {
		return m.push(d, costHeader)
	}
	l, ok := args[0].(*List)
	if !ok || len(args) > 1 {
		return fmt.Errorf("%s of a %s, want a list of pairs", g, Kind(args[0]))
	}
	if err := m.charge(costEntry * len(l.Items)); err != nil {
		return err
	}
	for _, it := range l.Items {
		var pair []any
		switch p := it.(type) {
		case *List:
			pair = p.Items
		case *Tuple:
			pair = p.Items
		}
		if len(pair) != 2 {
			return fmt.Errorf("%s of something else than pairs", g)
		}
		d.set(pair[0], pair[1])
	}
	return m.push(d, costHeader)
}

// Kind says what a value is, for error messages.
func Kind(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case *Bytes:
		return "bytes"
	case *List:
		return "list"
	case *Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *Global:
		return "class " + short(v.String())
	case *Object:
		return short(v.Class)
	}
	return fmt.Sprintf("%T", v)
}

// short bounds a name that comes from the file.
func short(s string) string {
	if len(s) > 80 {
		s = s[:80] + "..."
	}
	return fmt.Sprintf("%q", s)
}
