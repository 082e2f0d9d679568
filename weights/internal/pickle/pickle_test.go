package pickle_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/weights/internal/pickle"
)

// sample is, in Python 3.11,
//
//	x = (1, -2, 300, 70000, 2**40, 2**70, 1.5, True, None, "é", b"ab")
//	pickletools.optimize(pickle.dumps({"t": x, "l": [x[:1], {}], "o": OrderedDict(a=1), "s": {7}}, protocol=p))
//
// for each protocol p.
var sample = map[int]string{
	0: "(dVt\n(I1\nI-2\nI300\nI70000\nL1099511627776L\nL1180591620717411303424L\nF1.5\nI01\nNV\xe9\nc_codecs\nencode\n(Vab\nVlatin1\ntRtsVl\n(l(I1\nta(dasVo\nccollections\nOrderedDict\n(tRVa\nI1\nssVs\nc__builtin__\nset\n((lI7\natRs.",
	1: "}(X\x01\x00\x00\x00t(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00L1099511627776L\nL1180591620717411303424L\nG?\xf8\x00\x00\x00\x00\x00\x00I01\nNX\x02\x00\x00\x00\xc3\xa9c_codecs\nencode\n(X\x02\x00\x00\x00abX\x06\x00\x00\x00latin1tRtX\x01\x00\x00\x00l]((K\x01t}eX\x01\x00\x00\x00occollections\nOrderedDict\n)RX\x01\x00\x00\x00aK\x01sX\x01\x00\x00\x00sc__builtin__\nset\n(]K\x07atRu.",
	2: "\x80\x02}(X\x01\x00\x00\x00t(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x06\x00\x00\x00\x00\x00\x01\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00@G?\xf8\x00\x00\x00\x00\x00\x00\x88NX\x02\x00\x00\x00\xc3\xa9c_codecs\nencode\nX\x02\x00\x00\x00abX\x06\x00\x00\x00latin1\x86RtX\x01\x00\x00\x00l](K\x01\x85}eX\x01\x00\x00\x00occollections\nOrderedDict\n)RX\x01\x00\x00\x00aK\x01sX\x01\x00\x00\x00sc__builtin__\nset\n]K\x07a\x85Ru.",
	3: "\x80\x03}(X\x01\x00\x00\x00t(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x06\x00\x00\x00\x00\x00\x01\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00@G?\xf8\x00\x00\x00\x00\x00\x00\x88NX\x02\x00\x00\x00\xc3\xa9C\x02abtX\x01\x00\x00\x00l](K\x01\x85}eX\x01\x00\x00\x00occollections\nOrderedDict\n)RX\x01\x00\x00\x00aK\x01sX\x01\x00\x00\x00scbuiltins\nset\n]K\x07a\x85Ru.",
	4: "\x80\x04\x95v\x00\x00\x00\x00\x00\x00\x00}(\x8c\x01t(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x06\x00\x00\x00\x00\x00\x01\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00@G?\xf8\x00\x00\x00\x00\x00\x00\x88N\x8c\x02\xc3\xa9C\x02abt\x8c\x01l](K\x01\x85}e\x8c\x01o\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R\x8c\x01aK\x01s\x8c\x01s\x8f(K\x07\x90u.",
	5: "\x80\x05\x95v\x00\x00\x00\x00\x00\x00\x00}(\x8c\x01t(K\x01J\xfe\xff\xff\xffM,\x01Jp\x11\x01\x00\x8a\x06\x00\x00\x00\x00\x00\x01\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00@G?\xf8\x00\x00\x00\x00\x00\x00\x88N\x8c\x02\xc3\xa9C\x02abt\x8c\x01l](K\x01\x85}e\x8c\x01o\x8c\x0bcollections\x8c\x0bOrderedDict\x93)R\x8c\x01aK\x01s\x8c\x01s\x8f(K\x07\x90u.",
}

// show writes a value in Python's way.
func show(v any) string {
	list := func(items []any) string {
		var parts []string
		for _, it := range items {
			parts = append(parts, show(it))
		}
		return strings.Join(parts, ", ")
	}
	switch v := v.(type) {
	case *pickle.Tuple:
		return "(" + list(v.Items) + ")"
	case *pickle.List:
		return "[" + list(v.Items) + "]"
	case *pickle.Dict:
		var parts []string
		for _, e := range v.Entries {
			parts = append(parts, show(e.Key)+": "+show(e.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	case *pickle.Bytes:
		return fmt.Sprintf("b%q", v.Data)
	case *pickle.Global:
		return "<" + v.String() + ">"
	case *pickle.Object:
		return "<" + v.Class + " object>"
	case string:
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprint(v)
}

func TestLoadProtocols(t *testing.T) {
	for p, data := range sample {
		t.Run(fmt.Sprint(p), func(t *testing.T) {
			v, err := pickle.Load([]byte(data), pickle.Hooks{})
			require.NoError(t, err)
			d, ok := v.(*pickle.Dict)
			require.True(t, ok)
			x, ok := d.Get("t")
			require.True(t, ok)
			e, raw := `"é"`, `b"ab"`
			if p == 0 {
				e = `"\xe9"` // Latin-1, as the protocol has it
			}
			if p < 3 {
				raw = "<_codecs.encode object>"
			}
			assert.Equal(t, "(1, -2, 300, 70000, 1099511627776, <int object>, 1.5, true, <nil>, "+e+", "+raw+")", show(x))
			l, _ := d.Get("l")
			assert.Equal(t, "[(1), {}]", show(l))
			o, _ := d.Get("o")
			assert.Equal(t, `{"a": 1}`, show(o))
			s, _ := d.Get("s")
			if p < 4 {
				assert.Contains(t, show(s), "set object>")
			} else {
				assert.Equal(t, "[7]", show(s))
			}
			_, ok = d.Get("absent")
			assert.False(t, ok)
		})
	}
}

func TestLoadOpcodes(t *testing.T) {
	for _, tt := range []struct{ name, data, want string }{
		{"mark popped", "K\x01((0K\x021.", "1"},
		{"dup", "K\x012\x86.", "(1, 1)"},
		{"put and get", "K\x01p5\n0g5\n.", "1"},
		{"long binput", "K\x01r\x05\x00\x00\x000j\x05\x00\x00\x00.", "1"},
		{"memoize", "K\x07\x940h\x00.", "7"},
		{"list", "(K\x01K\x02l.", "[1, 2]"},
		{"dict", "(U\x01aK\x02d.", `{"a": 2}`},
		{"setitem twice", "}U\x01aK\x02sU\x01aK\x03s.", `{"a": 3}`},
		{"other keys", "}K\x01K\x02sK\x01K\x03s.", `{1: 2, 1: 3}`},
		{"string", "S'ab'\n.", `"ab"`},
		{"booleans of protocol 0", "I01\nI00\n\x86.", "(true, false)"},
		{"long of protocol 0", "L-12L\n.", "-12"},
		{"long of protocol 0 beyond 64 bits", "L123456789012345678901234567890L\n.", "<int object>"},
		{"float of protocol 0", "F1e999\n.", "+Inf"},
		{"negative long", "\x8a\x02\x00\xff.", "-256"},
		{"empty long", "\x8a\x00.", "0"},
		{"bytearray", "\x96\x02\x00\x00\x00\x00\x00\x00\x00ab.", `b"ab"`},
		{"global", "cos\nsystem\n.", "<os.system>"},
		{"call is not made", "cos\nsystem\n(S'true'\ntR.", "<os.system object>"},
		{"inst is not made", "(S'true'\nios\nsystem\n.", "<os.system object>"},
		{"obj is not made", "(cos\nsystem\nS'true'\no.", "<os.system object>"},
		{"newobj is not made", "cos\nsystem\n)\x81.", "<os.system object>"},
		{"newobj_ex is not made", "cos\nsystem\n)}\x92.", "<os.system object>"},
		{"stack global", "\x8c\x02os\x8c\x06system\x93.", "<os.system>"},
		{"state is dropped", "cos\nsystem\n)R}b.", "<os.system object>"},
		{"items of a placeholder are dropped", "cos\nsystem\n)RK\x01K\x02sK\x03a.", "<os.system object>"},
		{"placeholder called", "cos\nsystem\n)R)R.", "<os.system object>"},
		{"extension", "\x82\x01.", "<extension object>"},
		{"persistent id", "Pabc\n.", "<persistent id object>"},
		{"ordered dict", "ccollections\nOrderedDict\n](]U\x01aaK\x01aU\x01bK\x02\x86e\x85R.", `{"a": 1, "b": 2}`},
		{"default dict", "ccollections\ndefaultdict\nN\x85RK\x01K\x02s.", `{1: 2}`},
		{"frozen set", "(K\x01\x91.", "[1]"},
		{"set", "\x8f(K\x01\x90.", "[1]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v, err := pickle.Load([]byte(tt.data), pickle.Hooks{})
			require.NoError(t, err)
			assert.Equal(t, tt.want, show(v))
			for n := range tt.data {
				_, err := pickle.Load([]byte(tt.data[:n]), pickle.Hooks{})
				assert.Error(t, err, "the first %d bytes", n)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	for _, tt := range []struct{ name, data, want string }{
		{"empty", "", "pickle: byte 0 of 0: ends early: the file is cut short"},
		{"unknown", "\xff", "opcode 0xff is unknown"},
		{"protocol", "\x80\x06.", "protocol 6, at most 5 is read"},
		{"nothing on the stack", ".", "stack is empty"},
		{"below the mark", "K\x01(\x85.", "stack is empty"},
		{"no mark", "K\x01t.", "no mark on the stack"},
		{"memo", "h\x05.", "memo 5 is not set"},
		{"memo index", "g-1\n.", `"-1" is not a memo index`},
		{"append to a number", "K\x01K\x02a.", "append to a int"},
		{"item of a list", "]K\x01K\x02s.", "set an item of a list"},
		{"odd dict", "(K\x01d.", "a key without a value"},
		{"odd items", "}(K\x01u.", "a key without a value"},
		{"call of a number", "K\x01)R.", "call of a int"},
		{"arguments", "cos\nsystem\nK\x01R.", "call of os.system with a int, want a tuple"},
		{"class name", "K\x01K\x02\x93.", "the name of a class is not a str"},
		{"no quotes", "Sab\n.", "a string without quotes"},
		{"not a number", "Iab\n.", `"ab" is not an integer`},
		{"not a float", "Fab\n.", `"ab" is not a float`},
		{"11 bytes that claim 2 GB", "\x8b\xff\xff\xff\x7f", "cut short"},
		{"string that claims 16 EB", "\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "cut short"},
		{"buffer", "\x97.", "out-of-band buffers are not in the file"},
		{"ordered dict of a number", "ccollections\nOrderedDict\nK\x01\x85R.", "want a list of pairs"},
		{"ordered dict of numbers", "ccollections\nOrderedDict\n]K\x01a\x85R.", "something else than pairs"},
		{"empty obj", "(o.", "stack is empty"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := pickle.Load([]byte(tt.data), pickle.Hooks{})
			require.ErrorContains(t, err, tt.want)
			require.ErrorContains(t, err, "pickle: byte ")
		})
	}
}

// TestLoadBombs: pickles that would take far more memory than their size.
func TestLoadBombs(t *testing.T) {
	for _, tt := range []struct{ name, data, want string }{
		{"a dict a byte", strings.Repeat("}", 1<<20) + ".", "too much memory"},
		{"a memo entry a byte", "}" + strings.Repeat("\x94", 1<<20) + ".", "too much memory"},
		{"a list copied over and over", "]\x94(" + strings.Repeat("K\x01K\x01\x86", 1<<12) + "e\x85\x940ccollections\nOrderedDict\n\x940" +
			strings.Repeat("h\x02h\x01R0", 1<<12) + "N.", "too much memory"},
		{"deep stack", strings.Repeat("N", 1<<23) + ".", "too deep"},
		{"marks", strings.Repeat("(", 1<<21) + ".", "too much memory"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := pickle.Load([]byte(tt.data), pickle.Hooks{})
			require.ErrorContains(t, err, tt.want)
		})
	}
	// Doubling tuples and a list in itself are small, and stay so.
	v, err := pickle.Load([]byte(")"+strings.Repeat("2\x86", 1000)+"."), pickle.Hooks{})
	require.NoError(t, err)
	require.NotNil(t, v)
	v, err = pickle.Load([]byte("]\x94h\x00a."), pickle.Hooks{})
	require.NoError(t, err)
	l, ok := v.(*pickle.List)
	require.True(t, ok)
	assert.Same(t, l, l.Items[0])
}

func TestLoadHooks(t *testing.T) {
	hooks := pickle.Hooks{
		Call: func(class *pickle.Global, args []any) (any, bool, error) {
			switch class.Name {
			case "sum":
				return args[0].(int64) + args[1].(int64), true, nil
			case "fails":
				return nil, false, errors.New("no")
			}
			return nil, false, nil
		},
		Persistent: func(id any) (any, error) {
			if id == "bad" {
				return nil, errors.New("no such id")
			}
			return id, nil
		},
	}
	for _, tt := range []struct{ data, want, err string }{
		{"cm\nsum\nK\x01K\x02\x86R.", "3", ""},
		{"cm\nother\n)R.", "<m.other object>", ""},
		{"cm\nfails\n)R.", "", "m.fails: no"},
		{"Pab\n.", `"ab"`, ""},
		{"K\x05Q.", "5", ""},
		{"Pbad\n.", "", "no such id"},
	} {
		v, err := pickle.Load([]byte(tt.data), hooks)
		if tt.err != "" {
			require.ErrorContains(t, err, tt.err)
			continue
		}
		require.NoError(t, err)
		assert.Equal(t, tt.want, show(v))
	}
}

func TestKind(t *testing.T) {
	for want, v := range map[string]any{
		"None": nil, "bool": true, "int": int64(1), "float": 1.0, "str": "", "bytes": &pickle.Bytes{},
		"list": &pickle.List{}, "tuple": &pickle.Tuple{}, "dict": &pickle.Dict{}, "rune": 'x',
		`class "a.b"`: &pickle.Global{Module: "a", Name: "b"}, `"a"`: &pickle.Object{Class: "a"},
	} {
		if want == "rune" {
			want = "int32"
		}
		assert.Equal(t, want, pickle.Kind(v))
	}
	assert.Len(t, pickle.Kind(&pickle.Object{Class: strings.Repeat("x", 1000)}), 85)
}

func FuzzLoad(f *testing.F) {
	for _, s := range sample {
		f.Add([]byte(s))
	}
	f.Add([]byte("cos\nsystem\n(S'true'\ntR."))
	f.Add([]byte("ccollections\nOrderedDict\n](]U\x01aaK\x01aU\x01bK\x02\x86e\x85R."))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := pickle.Load(data, pickle.Hooks{})
		if err == nil {
			pickle.Kind(v)
		}
	})
}

func ExampleLoad() {
	v, err := pickle.Load([]byte("}(U\x01aK\x01U\x01bcos\nsystem\n)Ru."), pickle.Hooks{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, e := range v.(*pickle.Dict).Entries {
		fmt.Println(e.Key, pickle.Kind(e.Value))
	}
	// Output:
	// a int
	// b "os.system"
}
