package cohort

import (
	"io"

	"github.com/parquet-go/parquet-go"
)

// writeParquet writes the table as Parquet: the columns of the CSV file with
// their types, in the order of their names; what is unknown is null.
func writeParquet(w io.Writer, rows []row) error {
	cols := columns(rows)
	group := parquet.Group{}
	for _, c := range cols {
		switch c.kind {
		case words:
			group[c.name] = parquet.Optional(parquet.String())
		case integer:
			group[c.name] = parquet.Optional(parquet.Int(64))
		default:
			group[c.name] = parquet.Optional(parquet.Leaf(parquet.DoubleType))
		}
	}
	schema := parquet.NewSchema("slide", group)
	place := map[string]int{}
	for i, p := range schema.Columns() {
		place[p[0]] = i
	}
	out := parquet.NewGenericWriter[any](w, schema, parquet.Compression(&parquet.Snappy), parquet.CreatedBy("slidesam", "", ""))
	for _, r := range rows {
		line := make(parquet.Row, len(cols))
		for _, c := range cols {
			v, ok := c.value(r)
			at := place[c.name]
			if !ok {
				line[at] = parquet.NullValue().Level(0, 0, at)
				continue
			}
			line[at] = parquet.ValueOf(v).Level(0, 1, at)
		}
		if _, err := out.WriteRows([]parquet.Row{line}); err != nil {
			return err
		}
	}
	return out.Close()
}
