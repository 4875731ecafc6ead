package batch

import (
	"bytes"
	"strings"
	"testing"
)

// TestFit: every row is in one batch, in order, none larger than may be; what never fits is there to be refused.
func TestFit(t *testing.T) {
	var rows []Rejected
	for i := range 100 {
		rows = append(rows, Rejected{Source: "mqtt", Topic: strings.Repeat("t", 1+i), Payload: bytes.Repeat([]byte{'p'}, i*100)})
	}
	rows[50].Payload = make([]byte, 100_000)
	at, batches := 0, 0
	for at < len(rows) {
		n, data, err := Fit(rows[at:], 50_000, EncodeRejected)
		if err != nil {
			t.Fatal(err)
		}
		if len(data) > 50_000 && (n != 1 || at != 50) {
			t.Errorf("rows %d to %d: %d bytes", at, at+n, len(data))
		}
		back, err := DecodeRejected(data)
		if err != nil || len(back) != n || n < 1 {
			t.Fatalf("%d rows of %d, %v", len(back), n, err)
		}
		for i := range back {
			if back[i].Topic != rows[at+i].Topic || !bytes.Equal(back[i].Payload, rows[at+i].Payload) {
				t.Fatalf("row %d is another", at+i)
			}
		}
		at, batches = at+n, batches+1
	}
	if batches > 30 {
		t.Errorf("%d batches for 600 kB", batches)
	}
	if n, data, err := Fit(nil, 1, EncodeRejected); n != 0 || data == nil || err != nil {
		t.Errorf("of nothing: %d, %v", n, err)
	}
}
