package frame

// Opened is a frame that was signed by a session.
type Opened struct {
	FCnt    uint32 // all 32 bits
	Outcome Outcome
	// HalfMIC says that only 16 bits of the MIC could be checked, because the Link left out what
	// a LoRaWAN 1.1 device signs besides.
	HalfMIC bool
	// Encrypted says that Payload is still encrypted, for want of the AppSKey.
	Encrypted bool
	// Payload is the application's, plain, nil when the frame has none or MAC commands instead. It
	// is memory of the Opener, valid until its next use.
	Payload []byte
	// MAC is the MAC commands, plain, from FOpts or FPort 0; likewise the Opener's.
	MAC []byte
}

// Open checks that s signed f, rebuilds its counter from st, judges it, decrypts it and notes it in
// st. Its error is a *Reject: ReasonMType for downlinks, ReasonDevAddr, ReasonMIC, or ReasonCounter
// under the policy Refuse. st is changed only when there is none. Whoever calls it from several
// goroutines keeps them off one st.
func (o *Opener) Open(f *Frame, s *Session, st *State, link Link, policy Policy) (Opened, error) {
	if f.Type != UnconfirmedUp && f.Type != ConfirmedUp {
		return Opened{}, Rejectf(ReasonMType, "a %s, want an uplink", f.Type)
	}
	if f.DevAddr != s.keys.DevAddr {
		return Opened{}, Rejectf(ReasonDevAddr, "dev_addr %s, want the session's %s", f.DevAddr, s.keys.DevAddr)
	}
	var out Opened
	var ok bool
	out.FCnt, ok = st.candidates(f.FCnt, func(fcnt uint32) bool {
		ok, half := o.signed(s, f, fcnt, link)
		out.HalfMIC = half
		return ok
	})
	if !ok {
		return Opened{}, errMIC
	}
	out.Outcome = st.judge(out.FCnt, f.MIC)
	if out.Outcome == Reset {
		if policy == Refuse {
			return Opened{}, Rejectf(ReasonCounter, "dev_addr %s: counter %d after %d, want a greater one", f.DevAddr, out.FCnt, st.Last)
		}
		st.note(out.FCnt, f.MIC, Reset)
		if policy == Accept {
			out.Outcome = Fresh
		}
	} else {
		st.note(out.FCnt, f.MIC, out.Outcome)
	}
	o.plain(f, s, &out)
	return out, nil
}

// errMIC is made once: a flood of forged frames allocates nothing.
var errMIC error = &Reject{Reason: ReasonMIC, Detail: "no session of the dev_addr signed the frame"}

func (o *Opener) plain(f *Frame, s *Session, out *Opened) {
	switch {
	case len(f.FOpts) > 0 && s.keys.V11:
		out.MAC = o.decryptFOpts(s, f, out.FCnt)
	case len(f.FOpts) > 0:
		out.MAC = f.FOpts
	}
	switch {
	case !f.HasPort:
	case f.Port == 0:
		out.MAC = o.decrypt(s.nwkSEnc, f, out.FCnt, f.Payload, o.payload[:])
	case s.appS == nil:
		out.Payload, out.Encrypted = f.Payload, len(f.Payload) > 0
	default:
		out.Payload = o.decrypt(s.appS, f, out.FCnt, f.Payload, o.payload[:])
	}
}
