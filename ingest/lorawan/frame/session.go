package frame

import (
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"strings"

	"panormus/devices"
)

// Keys are a session's. A LoRaWAN 1.0 session has one network key, FNwkSInt, which stands for all
// three.
type Keys struct {
	V11     bool // LoRaWAN 1.1
	DevAddr DevAddr
	// FNwkSInt, SNwkSInt and NwkSEnc are the network session keys.
	FNwkSInt, SNwkSInt, NwkSEnc Key
	AppS                        Key
	HasAppS                     bool // without it payloads stay encrypted
}

// KeysOf reads the session of a device from the registry's words. ok is false where it has none:
// no DevAddr or no network key.
func KeysOf(l *devices.LoRaWAN) (k Keys, ok bool, err error) {
	if l == nil || l.DevAddr == "" || l.NwkSKey == "" && l.FNwkSIntKey == "" {
		return k, false, nil
	}
	if k.DevAddr, err = ParseDevAddr(l.DevAddr); err != nil {
		return k, false, err
	}
	k.V11 = strings.HasPrefix(l.MACVersion, "1.1")
	f := l.FNwkSIntKey
	if !k.V11 && l.NwkSKey != "" || f == "" {
		f = l.NwkSKey
	}
	s, enc := l.SNwkSIntKey, l.NwkSEncryption
	if !k.V11 {
		s, enc = f, f
	}
	for _, p := range []struct {
		name, text string
		key        *Key
	}{{"f_nwk_s_int_key", f, &k.FNwkSInt}, {"s_nwk_s_int_key", s, &k.SNwkSInt}, {"nwk_s_enc_key", enc, &k.NwkSEnc}} {
		if *p.key, err = ParseKey(p.text); err != nil {
			return Keys{}, false, fmt.Errorf("%s: %w", p.name, err)
		}
	}
	if l.AppSKey != "" {
		if k.AppS, err = ParseKey(l.AppSKey); err != nil {
			return Keys{}, false, fmt.Errorf("app_s_key: %w", err)
		}
		k.HasAppS = true
	}
	return k, true, nil
}

// A Session is the keys of one device, ready for use. It is immutable and safe for concurrent use.
type Session struct {
	keys     Keys
	fNwkSInt mac
	sNwkSInt mac
	nwkSEnc  cipher.Block
	appS     cipher.Block // nil where not known
}

// NewSession prepares keys.
func NewSession(k Keys) *Session {
	s := &Session{keys: k, fNwkSInt: newMAC(k.FNwkSInt)}
	s.sNwkSInt, s.nwkSEnc = s.fNwkSInt, s.fNwkSInt.block
	if k.V11 {
		s.sNwkSInt, s.nwkSEnc = newMAC(k.SNwkSInt), newCipher(k.NwkSEnc)
	}
	if k.HasAppS {
		s.appS = newCipher(k.AppS)
	}
	return s
}

// DevAddr of the session.
func (s *Session) DevAddr() DevAddr { return s.keys.DevAddr }

// V11 reports whether the session is one of LoRaWAN 1.1.
func (s *Session) V11() bool { return s.keys.V11 }

func newCipher(k Key) cipher.Block {
	block, err := aes.NewCipher(k[:])
	if err != nil {
		panic(fmt.Sprintf("BUG: a key of %d bytes: %v", len(k), err))
	}
	return block
}

// A mac computes AES-CMAC (RFC 4493) under one key.
type mac struct {
	block  cipher.Block
	k1, k2 [16]byte
}

func newMAC(k Key) mac {
	m := mac{block: newCipher(k)}
	var l [16]byte
	m.block.Encrypt(l[:], l[:])
	m.k1 = double(l)
	m.k2 = double(m.k1)
	return m
}

// double multiplies by x in the field of RFC 4493.
func double(b [16]byte) (out [16]byte) {
	var carry byte
	for i := 15; i >= 0; i-- {
		out[i] = b[i]<<1 | carry
		carry = b[i] >> 7
	}
	out[15] ^= carry * 0x87
	return out
}
