package main

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"text/tabwriter"
)

// table collects rows as they are measured.
type table struct{ rows []row }

type row struct {
	name  string
	value float64
	unit  string
	zed   string // what OpenStack Zed reached; "" where nobody measured it
	note  string
}

func (t *table) add(name string, value float64, unit, zed, note string, args ...any) {
	t.rows = append(t.rows, row{name, value, unit, zed, fmt.Sprintf(note, args...)})
}

func (t *table) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "WHAT\tVALUE\tUNIT\tOPENSTACK ZED\tNOTE")
	for _, r := range t.rows {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", r.name, number(r.value), r.unit, pick(r.zed == "", "-", r.zed), r.note)
	}
	tw.Flush()
	fmt.Fprintln(w, "\nOpenStack Zed: with fake hypervisors on a machine like the one of issue 2's author; for orientation only.")
}

// number writes three significant digits, or all of those before the point.
func number(v float64) string {
	if v == 0 || math.Abs(v) >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	return strconv.FormatFloat(v, 'f', min(digits, 6), 64)
}
