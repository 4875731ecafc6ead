package batch

// MaxRows is how many rows a builder of batches should stop at. Dictionary indexes are 16 bits
// wide, so a batch holds at most 32,767 rows; the room above MaxRows is for the message in hand.
const MaxRows = 16384

// limitRows is what the width of an index allows.
const limitRows = 1<<15 - 1

// A Dict is a dictionary-encoded column of strings: row i is Values[Index[i]].
type Dict struct {
	Index  []int16
	Values []string
	lookup map[string]int16 // value -> index, for building
}

// At returns the string of row i.
func (d *Dict) At(i int) string { return d.Values[d.Index[i]] }

// Len is the number of rows.
func (d *Dict) Len() int { return len(d.Index) }

// Any reports whether a row may be other than empty.
func (d *Dict) Any() bool { return len(d.Values) > 1 || len(d.Values) == 1 && d.Values[0] != "" }

// slice returns rows lo to hi in the memory of d, to be read only.
func (d *Dict) slice(lo, hi int) Dict { return Dict{Index: d.Index[lo:hi], Values: d.Values} }

// Code returns the index of s in Values, adding it if it is new. The string is kept.
func (d *Dict) Code(s string) int16 {
	if c, ok := d.lookup[s]; ok {
		return c
	}
	if d.lookup == nil {
		d.lookup = make(map[string]int16)
	}
	c := int16(len(d.Values))
	d.Values = append(d.Values, s)
	d.lookup[s] = c
	return c
}

// Append adds a row.
func (d *Dict) Append(s string) { d.Index = append(d.Index, d.Code(s)) }

// reset empties the column and keeps its memory.
func (d *Dict) reset() {
	d.Index = d.Index[:0]
	clear(d.Values)
	d.Values = d.Values[:0]
	clear(d.lookup)
}
