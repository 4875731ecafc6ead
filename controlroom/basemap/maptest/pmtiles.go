// Package maptest writes small PMTiles files, for tests of what serves and draws them.
package maptest

import (
	"encoding/binary"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protowire"
)

// extent is how many units a tile is wide and high.
const extent = 4096

// A Layer is one of the tile's: a polygon of it covers the given part of the world, as shares of 0 to 1 from
// the north-west corner of Web Mercator.
type Layer struct {
	Name                     string
	West, North, East, South float64
}

// PMTiles is a file of version 3 with one vector tile, 0/0/0, that has the layers; nothing in it is compressed.
func PMTiles(layers []Layer) []byte {
	var tile []byte
	var names []map[string]any
	for _, l := range layers {
		tile = protowire.AppendTag(tile, 3, protowire.BytesType)
		tile = protowire.AppendBytes(tile, l.encode())
		names = append(names, map[string]any{"id": l.Name, "fields": map[string]string{}})
	}
	metadata, err := json.Marshal(map[string]any{"name": "test", "attribution": "made for a test", "vector_layers": names})
	if err != nil {
		panic("BUG: " + err.Error()) // strings alone
	}
	// One entry: its tile id's growth, run length, length and offset plus one.
	var root []byte
	for _, v := range []uint64{1, 0, 1, uint64(len(tile)), 1} {
		root = binary.AppendUvarint(root, v)
	}
	const header = 127
	h := make([]byte, header)
	copy(h, "PMTiles\x03")
	at := uint64(header)
	for i, part := range [][]byte{root, metadata, nil, tile} {
		binary.LittleEndian.PutUint64(h[8+16*i:], at)
		binary.LittleEndian.PutUint64(h[16+16*i:], uint64(len(part)))
		at += uint64(len(part))
	}
	for i := range 3 { // tiles addressed, entries, contents
		binary.LittleEndian.PutUint64(h[72+8*i:], 1)
	}
	h[96], h[97], h[98], h[99] = 1, 1, 1, 1 // clustered; no compression, twice; vector tiles
	for i, degrees := range []float64{-180, -85, 180, 85} {
		binary.LittleEndian.PutUint32(h[102+4*i:], uint32(int32(degrees*1e7)))
	}
	return append(append(append(h, root...), metadata...), tile...)
}

// encode is the layer as the specification of vector tiles has it: version, name, one feature, extent.
func (l Layer) encode() []byte {
	x0, y0, x1, y1 := int64(l.West*extent), int64(l.North*extent), int64(l.East*extent), int64(l.South*extent)
	const moveTo, lineTo, closePath = 1, 2, 7
	var geometry []byte
	for _, v := range []uint64{
		moveTo | 1<<3, protowire.EncodeZigZag(x0), protowire.EncodeZigZag(y0),
		lineTo | 3<<3, protowire.EncodeZigZag(x1 - x0), protowire.EncodeZigZag(0),
		protowire.EncodeZigZag(0), protowire.EncodeZigZag(y1 - y0),
		protowire.EncodeZigZag(x0 - x1), protowire.EncodeZigZag(0),
		closePath | 1<<3,
	} {
		geometry = protowire.AppendVarint(geometry, v)
	}
	const polygon = 3
	var feature []byte
	feature = protowire.AppendTag(feature, 3, protowire.VarintType)
	feature = protowire.AppendVarint(feature, polygon)
	feature = protowire.AppendTag(feature, 4, protowire.BytesType)
	feature = protowire.AppendBytes(feature, geometry)

	var out []byte
	out = protowire.AppendTag(out, 15, protowire.VarintType)
	out = protowire.AppendVarint(out, 2)
	out = protowire.AppendTag(out, 1, protowire.BytesType)
	out = protowire.AppendString(out, l.Name)
	out = protowire.AppendTag(out, 2, protowire.BytesType)
	out = protowire.AppendBytes(out, feature)
	out = protowire.AppendTag(out, 5, protowire.VarintType)
	return protowire.AppendVarint(out, extent)
}
