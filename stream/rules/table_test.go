package rules

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// A table knows what a map knows, however devices come and go.
func TestTable(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	table, known := newTable(), map[string]*device{}
	homes := map[string]*home{}
	for i, domain := range []string{"a", "b", "c"} {
		homes[domain] = &home{domain: domain, salt: table.salt(domain)}
		if i == 2 {
			homes[domain].salt = 0xfffffff0 // whatever a salt is
		}
	}
	for range 20_000 {
		domain := string("abc"[rnd.IntN(3)])
		id := fmt.Sprint("d", rnd.IntN(300))
		h := homes[domain]
		tag := table.tag(id, h.salt)
		d := known[domain+id]
		if got := table.find(tag, id, domain); got != d {
			t.Fatalf("find(%s, %s) is %v, want %v", id, domain, got, d)
		}
		if d == nil && table.first(tag) != nil && table.first(tag).id == id && table.first(tag).home == h {
			t.Fatalf("first(%s, %s) finds what is not there", id, domain)
		}
		switch {
		case d == nil:
			d = &device{id: id, home: h}
			table.add(tag, d)
			known[domain+id] = d
		case rnd.IntN(2) == 0:
			table.remove(tag, d)
			delete(known, domain+id)
		}
		if table.n != len(known) {
			t.Fatalf("%d devices, want %d", table.n, len(known))
		}
	}
	seen := map[string]*device{}
	for d := range table.all() {
		seen[d.domain+d.id] = d
	}
	if !maps.Equal(seen, known) {
		t.Errorf("all() has %v, want %v", slices.Sorted(maps.Keys(seen)), slices.Sorted(maps.Keys(known)))
	}
	for domain := range homes {
		for i := range 300 {
			if id := fmt.Sprint("d", i); table.find(table.tag(id, homes[domain].salt), id, domain) != known[domain+id] {
				t.Errorf("%s of %s is not found, or should not be", id, domain)
			}
		}
	}
}

// A million devices make every byte a megabyte; the allocator has sizes of 96 and 112 bytes.
func TestDeviceSize(t *testing.T) {
	if size := unsafe.Sizeof(device{}); size > 96 {
		t.Errorf("a device is %d bytes, want at most 96", size)
	}
}
