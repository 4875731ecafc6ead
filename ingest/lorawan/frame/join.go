package frame

import "encoding/binary"

// A Join is a join or rejoin request as heard. Its MIC is not checked: the root keys are the join
// server's.
type Join struct {
	Type    Type  // JoinRequest or RejoinRequest
	Rejoin  uint8 // 0, 1 or 2 for a RejoinRequest
	JoinEUI EUI   // 0 for rejoin types 0 and 2, which do not send it
	DevEUI  EUI
	NetID   uint32 // 24 bits; rejoin types 0 and 2 only
	Nonce   uint16 // DevNonce, RJcount0 or RJcount1
	MIC     uint32 // the four bytes as a little-endian number
}

// Lengths of the requests.
const (
	joinLen     = 1 + 8 + 8 + 2 + 4
	rejoin02Len = 1 + 1 + 3 + 8 + 2 + 4
	rejoin1Len  = 1 + 1 + 8 + 8 + 2 + 4
)

// ParseJoin reads a join or rejoin request.
func ParseJoin(phy []byte) (Join, error) {
	if err := checkHeader(phy); err != nil {
		return Join{}, err
	}
	le := binary.LittleEndian
	j := Join{Type: TypeOf(phy[0]), MIC: le.Uint32(phy[len(phy)-4:])}
	want := joinLen
	switch j.Type {
	case JoinRequest:
	case RejoinRequest:
		j.Rejoin = phy[1]
		switch j.Rejoin {
		case 0, 2:
			want = rejoin02Len
		case 1:
			want = rejoin1Len
		default:
			return Join{}, Rejectf(ReasonMType, "rejoin request of type %d, want 0, 1 or 2", j.Rejoin)
		}
	default:
		return Join{}, Rejectf(ReasonMType, "a %s, want a join or rejoin request", j.Type)
	}
	if len(phy) != want {
		reason := ReasonShort
		if len(phy) > want {
			reason = ReasonLong
		}
		return Join{}, Rejectf(reason, "%s of %d bytes, want %d", j.Type, len(phy), want)
	}
	switch {
	case j.Type == JoinRequest:
		j.JoinEUI, j.DevEUI, j.Nonce = EUI(le.Uint64(phy[1:])), EUI(le.Uint64(phy[9:])), le.Uint16(phy[17:])
	case j.Rejoin == 1:
		j.JoinEUI, j.DevEUI, j.Nonce = EUI(le.Uint64(phy[2:])), EUI(le.Uint64(phy[10:])), le.Uint16(phy[18:])
	default:
		j.NetID = uint32(phy[2]) | uint32(phy[3])<<8 | uint32(phy[4])<<16
		j.DevEUI, j.Nonce = EUI(le.Uint64(phy[5:])), le.Uint16(phy[13:])
	}
	return j, nil
}
