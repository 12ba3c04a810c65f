package endpoint

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weirflow/weir/sdk"
)

// told is a reader that writes down what it is told.
type told struct {
	sdk.Reader // nil: it is not read
	name       string
	log        *[]string
}

func (r *told) Stop() { *r.log = append(*r.log, "stop "+r.name) }

func (r *told) Close(context.Context) error {
	*r.log = append(*r.log, "close "+r.name)
	return errors.New(r.name)
}

func opened(names ...string) (s *Readers[*told], log *[]string) {
	s, log = &Readers[*told]{}, &[]string{}
	for _, n := range names {
		s.Opened = append(s.Opened, &told{name: n, log: log})
	}
	return s, log
}

// accept is the name of the reader handed out next, or the error.
func accept(s *Readers[*told]) string {
	r, err := s.Accept(context.Background())
	if err != nil {
		return err.Error()
	}
	return r.(*told).name
}

func TestReadersAreHandedOutOnce(t *testing.T) {
	s, log := opened("a", "b")
	got := []string{accept(s), accept(s), accept(s)}
	if diff := cmp.Diff([]string{"a", "b", io.EOF.Error()}, got); diff != "" {
		t.Error(diff)
	}
	if err := s.Close(t.Context()); err != nil || len(*log) > 0 {
		t.Errorf("%v; readers that were accepted were told %v", err, *log)
	}
}

// After Stop no reader is handed out, and Close closes those left, once, and says what each of them said.
func TestStopLeavesTheRestToClose(t *testing.T) {
	s, log := opened("a", "b", "c")
	got := []string{accept(s)}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	got = append(got, accept(s), s.Close(t.Context()).Error())
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("the second Close: %v", err)
	}
	if diff := cmp.Diff([]string{"a", io.EOF.Error(), "b\nc"}, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"stop a", "stop b", "stop c", "close b", "close c"}, *log); diff != "" {
		t.Error(diff)
	}
}
