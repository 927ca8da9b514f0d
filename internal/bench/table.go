package main

import (
	"cmp"
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
	goal  string // and whether the value reaches it; "" where there is none
	zed   string // what OpenStack Zed reached; "" where nobody measured it
	note  string
}

func (t *table) add(name string, value float64, unit, zed, note string, args ...any) {
	t.rows = append(t.rows, row{name, value, unit, "", zed, fmt.Sprintf(note, args...)})
}

// atLeast gives the newest row a goal of the issue that this command reports against.
func (t *table) atLeast(goal float64) { t.goal(">=", goal, t.rows[len(t.rows)-1].value >= goal) }

// atMost is atLeast for what should be small.
func (t *table) atMost(goal float64) { t.goal("<=", goal, t.rows[len(t.rows)-1].value <= goal) }

func (t *table) goal(sign string, goal float64, reached bool) {
	t.rows[len(t.rows)-1].goal = fmt.Sprintf("%s %s %s", sign, number(goal), pick(reached, "yes", "NO"))
}

func (t *table) print(w io.Writer) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "WHAT\tVALUE\tUNIT\tGOAL\tOPENSTACK ZED\tNOTE")
	for _, r := range t.rows {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", r.name, number(r.value), r.unit, cmp.Or(r.goal, "-"), cmp.Or(r.zed, "-"), r.note)
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
