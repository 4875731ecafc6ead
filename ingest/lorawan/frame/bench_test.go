package frame

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/brocaar/lorawan"
)

func BenchmarkOpen(b *testing.B) {
	for _, tc := range []struct {
		v11  bool
		size int
	}{{false, 20}, {false, 51}, {false, 222}, {true, 20}} {
		b.Run(fmt.Sprintf("v11=%v/payload=%d", tc.v11, tc.size), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 2))
			s := sent{keys: randomKeys(r, tc.v11), fcnt: 1000, port: 1, payload: randomBytes(r, make([]byte, tc.size)), dr: 5}
			phy := s.reference(b)
			table := NewTable(0)
			if err := table.Put("d", s.keys, Refuse, State{}); err != nil {
				b.Fatal(err)
			}
			var o Opener
			link := s.link()
			b.ReportAllocs()
			for b.Loop() {
				var f Frame
				if err := Parse(phy, &f); err != nil {
					b.Fatal(err)
				}
				_, got, err := table.Open(&o, &f, link)
				if err != nil || got.Payload[0] != s.payload[0] {
					b.Fatalf("Open = %+v, %v", got, err)
				}
			}
		})
	}
}

// BenchmarkReference is the same by the reference library.
func BenchmarkReference(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	s := sent{keys: randomKeys(r, false), fcnt: 1000, port: 1, payload: randomBytes(r, make([]byte, 20))}
	phy := s.reference(b)
	b.ReportAllocs()
	for b.Loop() {
		var p lorawan.PHYPayload
		buf := append([]byte(nil), phy...)
		if err := p.UnmarshalBinary(buf); err != nil {
			b.Fatal(err)
		}
		if ok, err := p.ValidateUplinkDataMIC(lorawan.LoRaWAN1_0, 0, 0, 0, lorawan.AES128Key(s.keys.FNwkSInt), lorawan.AES128Key(s.keys.FNwkSInt)); err != nil || !ok {
			b.Fatal(ok, err)
		}
		if err := p.DecryptFRMPayload(lorawan.AES128Key(s.keys.AppS)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkPut(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	table := NewTable(1 << 30)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := table.Put(fmt.Sprint(i), randomKeys(r, false), Refuse, State{}); err != nil {
			b.Fatal(err)
		}
	}
}
