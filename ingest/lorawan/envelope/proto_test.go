package envelope

import (
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"panormus/ingest/lorawan/frame"
)

// pb builds protobuf messages field by field.
type pb []byte

func (b pb) str(n protowire.Number, v string) pb {
	return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), v)
}

func (b pb) msg(n protowire.Number, v pb) pb { return b.str(n, string(v)) }

func (b pb) num(n protowire.Number, v int64) pb {
	return protowire.AppendVarint(protowire.AppendTag(b, n, protowire.VarintType), uint64(v))
}

func (b pb) float(n protowire.Number, v float32) pb {
	return protowire.AppendFixed32(protowire.AppendTag(b, n, protowire.Fixed32Type), math.Float32bits(v))
}

func (b pb) double(n protowire.Number, v float64) pb {
	return protowire.AppendFixed64(protowire.AppendTag(b, n, protowire.Fixed64Type), math.Float64bits(v))
}

func objectPB(t testing.TB) pb {
	t.Helper()
	s, err := structpb.NewStruct(map[string]any{"deep": map[string]any{"list": []any{1.5, "a\"\n", true, nil, map[string]any{}}}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := proto.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func upPB(t testing.TB) pb {
	device := pb{}.str(3, "a1b2").str(7, "sensor è").str(8, "7894e8000005874b").msg(9, pb{}.str(1, "domain").str(2, "environment")).num(10, 0)
	rx := pb{}.str(1, "008000000002aa4b").num(2, 34618).msg(3, pb{}.num(1, 1769308300).num(2, 812000000)).num(6, -110).float(7, 3.75).
		msg(12, pb{}.double(1, 38.1157).double(2, 13.3615)).num(16, 2)
	tx := pb{}.num(1, 903900000).msg(2, pb{}.msg(3, pb{}.num(1, 125000).num(2, 7).num(5, 1)))
	return pb{}.str(1, "00545ccd-7a1c-4f73-9c59-2a2a3d6e0c11").msg(2, pb{}.num(1, 1769308300).num(2, 836000000)).msg(3, device).
		str(4, "00424d60").num(5, 1).num(6, 3).num(7, 336).num(8, 1).num(9, 1).str(10, "\x15\x0d\x00\x1f\x60\x07\x80").
		msg(11, objectPB(t)).msg(12, rx).msg(13, tx).str(16, "us915_1")
}

func TestProtobufMessages(t *testing.T) {
	device := pb{}.str(8, "7894e8000005874b")
	at := pb{}.num(1, 1769308300)
	rx := pb{}.str(1, "0102030405060708").num(6, -57).float(7, 9.5)
	tx := pb{}.num(1, 868100000).msg(2, pb{}.msg(3, pb{}.num(1, 125000).num(2, 9).num(5, 1)))
	phy := "\x80\xa6\xfe\x6a\x01\x80\x05\x00\x01\x38\x87\x3a\x73\x04"
	var p Parser
	for _, tc := range []struct {
		name   string
		in     pb
		parse  parser
		want   string
		reject frame.Reason
	}{
		{
			name: "up", in: upPB(t), parse: chirp("up"),
			want: `uplink 7894e8000005874b @00424d60 t=02:31:40.836 name=sensor è app=a1b2 domain=environment id=00545ccd-7a1c-4f73-9c59-2a2a3d6e0c11` +
				` port=1 cnt=336 data=150d001f600780 confirmed object={"deep":{"list":[1.5,"a\"\u000a",true,null,{}]}} 903900000 Hz SF7BW125 dr=3 56.576ms [008000000002aa4b -110 3.75 02:31:40.812 38.1157,13.3615]`,
		},
		{name: "up of zeros", in: pb{}.msg(3, device), parse: chirp("up"), want: `uplink 7894e8000005874b port=0 cnt=0 data= 0 Hz  dr=0 0s`},
		{name: "up encrypted", in: pb{}.msg(3, device).msg(15, pb{}.str(1, "key")), parse: chirp("up"), want: `uplink 7894e8000005874b port=0 cnt=0 data= encrypted 0 Hz  dr=0 0s`},
		{name: "up of nobody", in: pb{}.num(8, 1), parse: chirp("up"), reject: frame.ReasonMissing},
		{name: "up, odd port", in: pb{}.msg(3, device).num(8, 256), parse: chirp("up"), reject: frame.ReasonNumber},
		{name: "up, text for a number", in: pb{}.msg(3, device).str(7, "1"), parse: chirp("up"), reject: frame.ReasonType},
		{name: "up, not UTF-8", in: pb{}.msg(3, pb{}.str(7, "\xff")), parse: chirp("up"), reject: frame.ReasonUTF8},
		{name: "up, NaN", in: pb{}.msg(3, device).msg(12, pb{}.float(7, float32(math.NaN()))), parse: chirp("up"), reject: frame.ReasonNumber},
		{name: "up, long data", in: pb{}.msg(3, device).str(10, strings.Repeat("x", 256)), parse: chirp("up"), reject: frame.ReasonLong},
		{name: "up, no protobuf at all", in: pb("\xff\xff"), parse: chirp("up"), reject: frame.ReasonSyntax},
		{
			name: "status", in: pb{}.str(1, "1").msg(2, at).msg(3, device).num(5, -7).float(8, 97.5), parse: chirp("status"),
			want: `status 7894e8000005874b t=02:31:40.000 id=1 margin=-7 battery=true 97.5 external=false`,
		},
		{name: "join", in: pb{}.str(1, "1").msg(2, at).msg(3, device).str(4, "01020304"), parse: chirp("join"), want: `join 7894e8000005874b @01020304 t=02:31:40.000 id=1`},
		{name: "ack", in: pb{}.str(1, "1").msg(3, device).str(4, "q").num(5, 1).num(6, 7), parse: chirp("ack"), want: `ack 7894e8000005874b id=1 ok=true down=7 q`},
		{
			name: "txack", in: pb{}.num(1, 9).msg(2, at).msg(3, device).str(4, "q").num(5, 7).str(6, "0102030405060708"), parse: chirp("txack"),
			want: `txack 7894e8000005874b t=02:31:40.000 gw=0102030405060708 ok=true down=7 q`,
		},
		{
			name: "log", in: pb{}.msg(1, at).msg(2, device).num(3, 2).num(4, 6).str(5, "bad").msg(6, pb{}.str(1, "a").str(2, "b")), parse: chirp("log"),
			want: `log 7894e8000005874b t=02:31:40.000 ERROR UPLINK_MIC "bad"`,
		},
		{
			name: "location", in: pb{}.msg(3, device).msg(4, pb{}.double(1, 38.1).double(2, 13.3).double(3, 2).num(4, 3).float(5, 12)), parse: chirp("location"),
			want: `location 7894e8000005874b 38.1,13.3 alt=2 acc=12 GEO_RESOLVER_TDOA`,
		},
		{
			name: "bridge up", in: pb{}.str(1, phy).msg(4, tx).msg(5, rx), parse: bridge("up"),
			want: `uplink 0000000000000000 gw=0102030405060708 raw=80a6fe6a018005000138873a7304 868100000 Hz SF9BW125 dr=-1 164.864ms [0102030405060708 -57 9.5]`,
		},
		{
			name:  "bridge up of version 3",
			in:    pb{}.str(1, phy).msg(2, pb{}.num(1, 868100000).num(2, 0).msg(3, pb{}.num(1, 125).num(2, 9))).msg(3, pb{}.str(1, "\x01\x02\x03\x04\x05\x06\x07\x08").num(5, -57).double(6, 9.5).num(17, 1)),
			parse: bridge("up"),
			want:  `uplink 0000000000000000 gw=0102030405060708 raw=80a6fe6a018005000138873a7304 badcrc 868100000 Hz SF9BW125 dr=-1 164.864ms [0102030405060708 -57 9.5]`,
		},
		{
			name: "bridge stats", in: pb{}.str(17, "0102030405060708").msg(2, at).num(5, 5).num(6, 4).num(7, 3).num(8, 2).str(4, "v1"), parse: bridge("stats"),
			want: `stats 0000000000000000 t=02:31:40.000 gw=0102030405060708 rx=4/5 fw=0 down=2/3 ack=0  v1`,
		},
		{name: "bridge ack", in: pb{}.str(6, "0102030405060708").num(2, 1).msg(5, pb{}.num(1, 2)).msg(5, pb{}), parse: bridge("ack"), want: `txack 0000000000000000 gw=0102030405060708 ok=false down=0  TOO_LATE`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var m Message
			err := tc.parse(&p, tc.in, &m)
			if reasonOf(err) != tc.reject || err != nil && tc.reject == "" {
				t.Fatalf("%v, want %q", err, tc.reject)
			}
			if got := show(&m); err == nil && got != tc.want {
				t.Errorf("\n got %s\nwant %s", got, tc.want)
			}
			for n := range len(tc.in) {
				if err := tc.parse(&p, tc.in[:n], &m); err != nil && reasonOf(err) == "" {
					t.Fatalf("prefix of %d: %v, want a Reject or nil", n, err)
				}
			}
		})
	}
}

func TestDeepProtobufIsRefused(t *testing.T) {
	value := pb{}.num(1, 0)
	for range 100 {
		value = pb{}.msg(6, pb{}.msg(1, value))
	}
	in := pb{}.msg(11, pb{}.msg(1, pb{}.str(1, "a").msg(2, value)))
	var p Parser
	var m Message
	if err := p.ChirpStack("up", in, &m); reasonOf(err) != frame.ReasonDepth {
		t.Errorf("%v, want %s", err, frame.ReasonDepth)
	}
}
