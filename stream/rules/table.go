package rules

import (
	"hash/maphash"
	"iter"
)

// A table finds the devices of a shard by id and domain. It is open addressing over two columns, the tags
// and the devices: 12 bytes a place, where a map has 24 and more, and a tag that is there tells without
// a look at the device. It grows by a quarter, so that it is never much emptier than it must be.
type table struct {
	seed maphash.Seed
	tags []uint32 // 0: free
	devs []*device
	n    int
}

// A home is a domain with its plan, of a shard; its devices share it.
type home struct {
	domain string
	plan   *plan
	salt   uint32 // of the domain, in the tags of its devices
	place  int    // of the plan among those of the snapshot that is being written
}

func newTable() table {
	return table{seed: maphash.MakeSeed(), tags: make([]uint32, 8), devs: make([]*device, 8)}
}

// salt is a domain's share of a tag.
func (t *table) salt(domain string) uint32 { return uint32(maphash.String(t.seed, domain)) }

// tag is never 0.
func (t *table) tag(id string, salt uint32) uint32 {
	tag := uint32(maphash.String(t.seed, id)) ^ salt
	if tag == 0 {
		tag = 1
	}
	return tag
}

// place is where the search for a tag begins.
func (t *table) place(tag uint32) int { return int(uint64(tag) * uint64(len(t.tags)) >> 32) }

// first is the first device with a tag, most likely the one looked for; nil where there is none.
func (t *table) first(tag uint32) *device {
	for i := t.place(tag); ; {
		switch t.tags[i] {
		case tag:
			return t.devs[i]
		case 0:
			return nil
		}
		if i++; i == len(t.tags) {
			i = 0
		}
	}
}

// near reads the table through, in its order, which is quicker than to have it come place by place where most places
// are looked at. It returns something of what it read.
func (t *table) near() (some uint32) {
	for i := 0; i < len(t.tags); i += 16 { // a line of memory
		some += t.tags[i]
	}
	for i := 0; i < len(t.devs); i += 8 {
		if t.devs[i] != nil {
			some++
		}
	}
	return some
}

// find is the device of an id and a domain; nil where there is none.
func (t *table) find(tag uint32, id, domain string) *device {
	for i := t.place(tag); t.tags[i] != 0; {
		if d := t.devs[i]; t.tags[i] == tag && d.id == id && d.domain == domain {
			return d
		}
		if i++; i == len(t.tags) {
			i = 0
		}
	}
	return nil
}

// add takes a device that is not there.
func (t *table) add(tag uint32, d *device) {
	if (t.n+1)*8 > len(t.tags)*7 {
		tags, devs := t.tags, t.devs
		size := len(tags)*5/4 + 8
		t.tags, t.devs = make([]uint32, size), make([]*device, size)
		for i, old := range tags {
			if old != 0 {
				t.put(old, devs[i])
			}
		}
	}
	t.put(tag, d)
	t.n++
}

func (t *table) put(tag uint32, d *device) {
	i := t.place(tag)
	for t.tags[i] != 0 {
		if i++; i == len(t.tags) {
			i = 0
		}
	}
	t.tags[i], t.devs[i] = tag, d
}

// remove takes a device out; those behind it that it pushed away move up.
func (t *table) remove(tag uint32, d *device) {
	i := t.place(tag)
	for t.devs[i] != d {
		if t.tags[i] == 0 {
			return
		}
		if i++; i == len(t.tags) {
			i = 0
		}
	}
	t.n--
	for j := i; ; {
		if j++; j == len(t.tags) {
			j = 0
		}
		if t.tags[j] == 0 {
			break
		}
		// What is at j may move to i unless its search begins behind i.
		if at := t.place(t.tags[j]); i <= j && (at <= i || at > j) || i > j && at <= i && at > j {
			t.tags[i], t.devs[i] = t.tags[j], t.devs[j]
			i = j
		}
	}
	t.tags[i], t.devs[i] = 0, nil
}

// all goes through the devices; none may be added or removed meanwhile.
func (t *table) all() iter.Seq[*device] {
	return func(yield func(*device) bool) {
		for i, tag := range t.tags {
			if tag != 0 && !yield(t.devs[i]) {
				return
			}
		}
	}
}
