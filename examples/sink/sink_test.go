package sink

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/weirflow/weir/sdk"
	"github.com/weirflow/weir/sdk/sdktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var flows = sdk.NewSchema(
	sdk.Field{Name: "bytes", Type: sdk.Uint64},
	sdk.Field{Name: "src_port", Type: sdk.Uint16},
)

// server takes what is posted, or answers with a status.
func server(t testing.TB, status int, lines *[]string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body) // of a request that is cut short: what there is
		if lines != nil {
			*lines = append(*lines, r.Header.Get("Idempotency-Key")+" "+string(text))
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// The suite drives the plugin as the core does, and as unkindly as the core may.
func TestConformance(t *testing.T) {
	sdktest.Sink(t, Plugin, sdktest.SinkCase{Name: "flows", In: flows, Config: func(t testing.TB) any {
		return &Config{URL: server(t, http.StatusNoContent, nil)}
	}})
}

func TestSums(t *testing.T) {
	for _, c := range []struct {
		status int
		class  sdk.Class
		code   string
	}{
		{http.StatusNoContent, 0, ""},
		{http.StatusBadRequest, sdk.Permanent, "refused"},
		{http.StatusTooManyRequests, sdk.Transient, "server_error"},
		{http.StatusServiceUnavailable, sdk.Transient, "server_error"},
	} {
		var lines []string
		s := newSink(&Config{URL: server(t, c.status, &lines)})
		w, err := s.Open(t.Context(), flows)
		if err != nil {
			t.Fatal(err)
		}
		b := sdk.NewPool(nil).Get(flows, 2)
		b.SetRows(2)
		copy(sdk.Claim[uint64](b, 0, 0, 2), []uint64{40, 1460})
		b.Seal()
		var said []error
		if err := w.Write(t.Context(), &sdk.Block{Batches: []*sdk.Batch{b}, Rows: 2, Key: "k1"}, func(err error) { said = append(said, err) }); err != nil || len(said) != 1 {
			t.Fatal(c.status, err, said)
		}
		if d := cmp.Diff([]string{"k1 weir flows=2u,bytes=1500u\n"}, lines); d != "" {
			t.Errorf("(-want +got)\n%s", d)
		}
		if said[0] == nil != (c.code == "") || said[0] != nil && (sdk.ClassOf(said[0]) != c.class || sdk.CodeOf(said[0]) != c.code) {
			t.Errorf("%d: %v", c.status, said[0])
		}
		b.Release()
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

func TestFaultsAreFound(t *testing.T) {
	for _, url := range []string{"", "influx:8086", "ftp://host/", "http://"} {
		if (&Config{URL: url}).Validate() == nil {
			t.Errorf("%q is accepted", url)
		}
	}
	if err := (&Config{URL: "http://127.0.0.1:8086/write"}).Validate(); err != nil {
		t.Error(err)
	}
}
