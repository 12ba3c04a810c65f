package lab

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Table writes lines of cells as aligned columns.
func Table(w io.Writer, lines [][]string) error {
	most := 0
	for _, l := range lines {
		most = max(most, len(l))
	}
	var b bytes.Buffer
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, l := range lines { // a short line would end the columns that it does not have
		fmt.Fprintln(t, strings.Join(l, "\t")+strings.Repeat("\t", most-len(l)))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}
