package codec

import "testing"

func TestQuick(t *testing.T) {
	c, err := newEngine().javascript(`function decodeUplink(input){ var d={temperature: (input.bytes[0]<<8|input.bytes[1])/10, t: input.recvTime, b:[1,2,{c:"x"}]}; return {data:d, warnings:["w"]};}`, false)
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Decode(Uplink{FPort: 2, Bytes: []byte{1, 2}})
	t.Logf("%+v %v", res, err)
}
