package cli_test

import (
	"flag"
	"io"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/slidesam/sam/internal/cli"
)

// TestParseEmpty: a text that is given but empty does not ask for the default.
func TestParseEmpty(t *testing.T) {
	for _, tt := range []struct {
		name string
		args []string
		want []string
	}{
		{"given", []string{"-picture", "a.png", "-model", "m"}, nil},
		{"left out", nil, nil},
		{"a number, a switch and a list", []string{"-n", "0", "-local=false", "-box", ""}, nil},
		{"usage says what empty means", []string{"-class", ""}, nil},
		{"empty", []string{"-picture", ""}, []string{"-picture is empty"}},
		{"blank", []string{"-model= "}, []string{"-model is empty"}},
		{"two", []string{"-picture=", "-model="}, []string{"-picture is empty", "-model is empty"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			fs := flag.NewFlagSet("test", flag.ContinueOnError)
			fs.SetOutput(io.Discard)
			fs.String("picture", "", "a picture; default: the bundled one")
			fs.String("model", "bundled", "a checkpoint")
			fs.String("class", "auto", "class of the objects; empty: none")
			fs.Int("n", 1, "a number")
			fs.Bool("local", true, "a switch")
			fs.Func("box", "a box; may be given again", func(string) error { return nil })
			err := cli.Parse(fs, tt.args)
			if tt.want == nil {
				require.NoError(t, err)
				return
			}
			for _, want := range tt.want {
				assert.ErrorContains(t, err, want)
			}
			var usage *cli.UsageError
			assert.ErrorAs(t, err, &usage)
		})
	}
}
